"""flash_attn's public Python API (versions 1.x names to 2.8), computed by the backend in force."""
