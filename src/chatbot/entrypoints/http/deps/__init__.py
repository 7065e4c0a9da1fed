"""Dependencies for the signatures of routes."""
