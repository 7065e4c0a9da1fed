"""One technology per file, each implementing a port of the domain."""
