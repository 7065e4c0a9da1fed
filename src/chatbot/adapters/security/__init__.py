"""Adapters of the security ports."""
