"""Proofs of training at the command line: keys, proofs, verdicts, and what files say."""
