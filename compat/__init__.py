"""The compatibility suite: old transformers and the real LLaVA, run by `make test-compat`."""
