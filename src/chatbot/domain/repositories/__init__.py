"""Repositories, one per subject. Each is written once, on the ports."""
