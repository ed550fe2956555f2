"""The halves of a key, what is checked of them, and their files."""
