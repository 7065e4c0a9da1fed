"""The entry points of the service: HTTP, command line, settings, container."""
