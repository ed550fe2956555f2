"""A step of training, and the export of its masters, as circuits (PROTOCOL 4.6)."""
