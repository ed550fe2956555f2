"""Rounds of federated learning under rules and attacks: what a rule sees of them, and does."""
