"""Training that is proven: recipes, committed batches, trajectories (PROTOCOL 4.6)."""
