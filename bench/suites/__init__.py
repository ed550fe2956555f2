"""Benchmark suites, one module each: `build_suite(*, quick)` returns its cases."""
