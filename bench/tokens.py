"""`python -m bench tokens`: what a submit with a client token costs, beside one with its API key.

One server, one tenant, interleaved rounds: the key; a token without a budget; one with a budget and an end
user who has a limit, which counts in half as many usage rows again.
"""

import argparse
import json
import urllib.request
from typing import Any, Final

from bench.beside import Kind, add_options, print_kinds, staged
from bench.children import HOST
from bench.gateway import submit_body
from bench.standin import PICTURE_PATH

__all__ = ["add_options", "main"]

_KEY, _PLAIN, _FULL = "API key", "client token", "with budget and end user"
_UNLIMITED: Final = {"TOKEN_CALLS_PER_MINUTE": "0"}
_SCOPES: Final = ("--scope", "submit", "--scope", "read", "--scope", "tokens:create")


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns no faults."""
    with staged(given, **_UNLIMITED) as stage:
        command = stage.site.command
        command("tenants", "create", "pages", "--quiet")
        command("tenants", "set-media-checks", "pages", "off")
        key = command("keys", "create", "--tenant", "pages", "--test", "--quiet", *_SCOPES)
        command("limits", "set", "--tenant", "pages", "--test", "--end-user", "*", "generations-day=900000")
        stage.serve()
        kinds = {
            _KEY: Kind(key),
            _PLAIN: Kind(_token(stage.port, key)),
            _FULL: Kind(_token(stage.port, key, max_generations=900_000_000, end_user="user-1")),
        }
        body = submit_body("a harbour", f"http://{HOST}:{stage.upstream_port}{PICTURE_PATH}")
        stage.run(given, kinds, lambda _name: [body])
    print_kinds(kinds)
    return []


def _token(port: int, key: str, **terms: Any) -> str:
    request = urllib.request.Request(
        f"http://{HOST}:{port}/v1/client-tokens",
        json.dumps({"lifetime_s": 3600, **terms}).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return str(json.loads(answer.read())["token"])
