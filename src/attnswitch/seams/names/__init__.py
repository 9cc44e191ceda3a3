"""Where each generation of transformers turns a name into an attention function."""
