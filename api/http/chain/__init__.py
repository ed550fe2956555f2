"""The chain that the service follows, as it is shown."""
