"""Verified proofs to agreed blocks: lightweight nodes that verify, vote and finalize."""
