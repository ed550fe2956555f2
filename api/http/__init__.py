"""The HTTP service: the application, who may call it, its refusals, and its verifying processes."""
