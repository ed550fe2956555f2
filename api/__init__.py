"""Shells around the pure parts: command line, HTTP service, workers."""
