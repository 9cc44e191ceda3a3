"""Seams: the points where code reaches attention and the switch can stand. One file a seam."""
