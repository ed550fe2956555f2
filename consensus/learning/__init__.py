"""What the final blocks of a chain mean: rounds, clients, leaders. Pure."""
