"""Ceremonies for keys of ours: the commands of `zkpot ceremony`, and contributions over HTTP."""
