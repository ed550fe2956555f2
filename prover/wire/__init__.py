"""What travels: statements, envelopes, digests of data, verdicts."""
