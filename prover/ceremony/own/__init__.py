"""Keys of our own proof system by many parties: the first key, shares, their proofs and chain."""
