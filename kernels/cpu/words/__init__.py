"""The verifier's half, on 64-bit words: the field, the tower, the pairing, groups, small sums."""
