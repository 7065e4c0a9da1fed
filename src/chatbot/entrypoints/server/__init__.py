"""The HTTP server: uvicorn with bounds, fairness, worker processes and a clean shutdown."""
