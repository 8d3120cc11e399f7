"""Benchmarks of the gateway beside a bare FastAPI route, in one run, on this machine: `python -m bench`."""
