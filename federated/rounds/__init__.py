"""What a client owes in a round, and what it keeps of it."""
