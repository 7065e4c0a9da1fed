"""The search index in plain Python: one analyser and one ranking, the same on every store."""
