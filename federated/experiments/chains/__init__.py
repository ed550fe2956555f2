"""Chains that are dealt, played and measured in one process."""
