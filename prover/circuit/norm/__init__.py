"""Bounds on updates as a circuit of its own (PROTOCOL 4.5)."""
