"""The certificate authorities that outgoing TLS connections trust."""

import ssl
from functools import cache

import httpcore2


@cache
def system_trust() -> ssl.SSLContext:
    """Returns the TLS context with the system's authorities, which all clients share, settings included.

    It is created once, because loading the certificates takes 50 ms.
    """
    return httpcore2.default_ssl_context()
