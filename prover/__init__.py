"""Statement to proof to verdict: models, circuits, CP-Groth16, wire formats."""
