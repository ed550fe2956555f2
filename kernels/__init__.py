"""BN254 arithmetic on devices: fields, curves, transforms, multi-exponentiations, pairings."""
