"""Adapters to other implementations of the same operations, each optional."""
