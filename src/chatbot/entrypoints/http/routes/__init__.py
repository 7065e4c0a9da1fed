"""One file per subject of the API; every route is a few lines that call one use case."""
