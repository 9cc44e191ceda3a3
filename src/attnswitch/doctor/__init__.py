"""What this machine can do, what is broken and why, and what to do about it."""
