"""Command groups, one module each: `register(app)` adds its commands to the `zkpot` program."""
