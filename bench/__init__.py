"""Benchmarks: registered cases whose answers are checked before they are timed."""
