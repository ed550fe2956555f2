"""zkpot inside other frameworks of federated learning: a folder for each, alone to import it."""
