"""The image's health check, whatever the role of the container: one of its ports answers.

A server listens on the first, the sandbox on the second, a worker on the third; a command that ends by itself
listens on none, and is over before this matters.
"""

import os
import sys
import urllib.request

PLACES = (
    ("REELGATE_PORT", "8700", "livez"),
    ("REELGATE_SANDBOX_PORT", "8701", "health"),
    ("REELGATE_WORKER_PORT", "8702", "livez"),
)


def is_healthy() -> bool:
    """Returns whether any port answers with a 200."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # HTTP_PROXY is for elsewhere
    for setting, usual, path in PLACES:
        url = f"http://127.0.0.1:{os.environ.get(setting) or usual}/{path}"
        try:
            with direct.open(url, timeout=1):
                return True
        except OSError:
            continue
    return False


if __name__ == "__main__":
    sys.exit(not is_healthy())
