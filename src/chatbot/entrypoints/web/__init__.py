"""Pages for a browser, from files in this package: nothing comes from another host."""
