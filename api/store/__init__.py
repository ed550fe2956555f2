"""What lies on disk for callers: uploads, keys of circuits, private files of jobs."""
