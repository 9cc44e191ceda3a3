"""One model answers under two requests: what ran, what it cost, and whether the outputs agree."""
