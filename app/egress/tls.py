"""Whom we trust over TLS."""

import ssl
from functools import cache

import httpx2


@cache
def system_trust() -> ssl.SSLContext:
    """The system's certificates, loaded once for all clients: it takes 50 ms. Its settings are shared."""
    return httpx2.create_ssl_context()
