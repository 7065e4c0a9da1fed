"""The use cases: each method tells one story from top to bottom."""
