"""CPU backend: numba-compiled lanes (8 x 5 x 52 bits in vectors, 4 x 64 bits in scalars)."""
