"""Follows a choice of attention from a program's start to the lines that carry it out.

A small abstract interpreter: options, environment variables and installed packages stay
symbols; everything else is a constant, a reference into the tree, or unknown.
"""
