"""CP-Groth16: setup, commitments, challenges, quotient, proof, verification."""
