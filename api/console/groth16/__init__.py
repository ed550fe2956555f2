"""Ceremonies of `zkpot groth16`: the commands that go on with a key, and the first key."""
