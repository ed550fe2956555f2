"""Content: bytes by their SHA-256, and the places that hold them: a folder, S3, other nodes."""
