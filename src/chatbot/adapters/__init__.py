"""One technology per file or package, each implementing a port of the domain."""
