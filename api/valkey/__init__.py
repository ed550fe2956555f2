"""The queue's server: the embedded one, and connections that follow a primary."""
