"""The experiment `byzantine`: what malicious clients do to the global model, under every rule."""
