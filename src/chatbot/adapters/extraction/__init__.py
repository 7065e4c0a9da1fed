"""Extraction of text from files, each in a process of its own with limits.

`SubprocessExtractor` starts `child` for each file. The modules of the formats run in the child only:
the service itself never parses a file.
"""
