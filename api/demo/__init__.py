"""The main job on one machine: a chain, its clients, and whether what happened is true."""
