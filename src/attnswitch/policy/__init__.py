"""Which backend a call should use, and why: requests, policy files, and their resolution."""
