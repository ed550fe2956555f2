"""Accuracy and stability over rounds, for every rule, on data that lie alike or unevenly."""
