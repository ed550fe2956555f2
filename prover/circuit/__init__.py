"""From an architecture to rows and wires, and from a model and samples to a witness."""
