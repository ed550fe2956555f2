"""Foreign files: the formats of circom and snarkjs."""
