"""Extraction of text from files, each in a process of its own with limits.

`SubprocessExtractor` lets `child` read each file, in a process that `fork_server` forks or, on Windows,
that is started for it. The modules of the formats run there only: the service itself never parses a
file.
"""
