"""Claims that are forged, inflated, copied or replayed, each against the real verifier."""
