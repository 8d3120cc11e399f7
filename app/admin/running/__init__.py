"""Requests, dispatch, credentials and processes: what the gateway is doing now."""
