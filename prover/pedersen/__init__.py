"""Commitments to models that no key knows: bases, commitments, openings and sums."""
