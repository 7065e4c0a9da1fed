"""The composition root: `parts` builds each part, `wiring` puts them together.

Only this package imports adapters.
"""
