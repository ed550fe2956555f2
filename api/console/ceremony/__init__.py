"""Ceremonies for keys of ours: their folder, first key and verification, as commands need them."""
