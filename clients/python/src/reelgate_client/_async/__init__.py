"""The client for loops. `_sync` is made from it by `python -m tools.client_sync`."""
