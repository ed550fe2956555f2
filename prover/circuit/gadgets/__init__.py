"""Gadgets: rows for one kind of statement, each with its soundness argument."""
