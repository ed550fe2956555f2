"""Malicious clients of simulated rounds: what they train on, send, claim, and write as leaders."""
