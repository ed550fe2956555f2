"""Gadgets: each builds one kind of constraint block, with its proof of soundness beside it."""
