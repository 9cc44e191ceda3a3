"""Do the outputs agree: the rule, and what it is applied to."""
