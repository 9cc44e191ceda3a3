"""Models and what goes into them: loading, inputs, and the built-in LLaVA."""
