"""The process around the pure halves: transport, checks, drafts, exchange of what peers lack."""
