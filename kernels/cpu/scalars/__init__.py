"""Arrays of scalars: elementwise operations, transforms, sparse matrices."""
