"""Every LLaVA-family class of the installed transformers, built tiny and switched."""
