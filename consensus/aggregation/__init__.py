"""Secure aggregation: how clients hide their models in a sum, and how nodes open just the sum."""
