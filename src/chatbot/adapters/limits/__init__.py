"""Counters of limits in servers of their own."""
