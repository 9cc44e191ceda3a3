"""The attention part of `xformers.ops`, computed by the backend in force."""
