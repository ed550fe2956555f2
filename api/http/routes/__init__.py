"""Routes: what each path takes and gives."""
