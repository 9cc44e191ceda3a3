"""Machines as data: what each supports, with the source of every statement; and how to name one."""
