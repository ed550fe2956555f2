"""Rules of a round's end, one interface for all: who is in the mean, what it is, and who leads."""
