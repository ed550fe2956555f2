"""Setups of plain Groth16 by many parties: powers of tau, and shares of delta, as snarkjs's."""
