"""The prover's field: vectors of elements (IFMA, FMA) or scalars behind one set of operations."""
