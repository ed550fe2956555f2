"""Integer SGD: what a step of training is, exactly (PROTOCOL 4.6)."""
