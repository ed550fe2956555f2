"""Membership inference and inversion against what each rule reveals of a client's round."""
