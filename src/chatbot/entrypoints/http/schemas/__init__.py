"""Pydantic models of requests and responses, by subject, with their descriptions and examples.

The examples tell one story: Ana's first conversation.
"""
