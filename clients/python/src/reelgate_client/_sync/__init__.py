# Made from `_async` by `python -m tools.client_sync`: change that.
"""The client for threads."""
