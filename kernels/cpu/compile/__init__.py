"""Python and LLVM IR to machine code: numba's `njit` with a cache that cannot go stale."""
