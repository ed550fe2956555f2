"""Setups by many parties: powers of tau, shares of plain Groth16 as snarkjs's, and of our keys."""
