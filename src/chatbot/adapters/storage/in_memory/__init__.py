"""Storage in the memory of this process, which ends with it: for tests, demos and trials."""
