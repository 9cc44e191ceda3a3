"""How the functions get into a process: stand-in modules, replaced functions, and the way back."""
