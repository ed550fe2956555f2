"""Bytes, seconds and work of a round, and growth with clients."""
