"""Adapters of the llm ports."""
