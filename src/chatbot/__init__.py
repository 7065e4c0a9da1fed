"""A company's own assistant behind its own HTTP API."""

__version__ = "0.1.0"
