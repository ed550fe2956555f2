"""Multi-scalar multiplications over lanes: digits, buckets, runs, and tables of multiples."""
