"""How nodes agree on the next block. Pure: no clock, no I/O, no randomness."""
