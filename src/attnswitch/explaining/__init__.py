"""A dry run: what would run where under a request, and why; no weights, no GPU."""
