"""Contracts that verify proofs of training on an EVM chain, and what they are called with."""
