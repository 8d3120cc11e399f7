"""`python -m bench probing`: what checking its picture costs a valid submit, beside a submit without a check.

One server, three tenants, interleaved rounds: media checks off; enforced on a picture that was probed before;
enforced on one that was not, which is fetched from the stand-in on loopback (a range of 64 KiB). A real
object store adds its own round trip and TLS to the last.
"""

import argparse
import itertools
from typing import Final

from bench.beside import Kind, add_options, print_kinds, staged
from bench.children import HOST
from bench.gateway import Site, submit_body
from bench.standin import PICTURE_PATH

__all__ = ["add_options", "main"]

_MAX_A_SECOND: Final = 3_000  # different pictures prepared for each second of a round
_OFF, _SEEN, _NEW = "not looked at", "seen before", "not seen before"


def main(given: argparse.Namespace) -> list[str]:
    """Measures and prints; returns no faults."""
    numbers = itertools.count()
    with staged(given, MEDIA_CACHE_S="3600") as stage:
        site = stage.site
        kinds = {_OFF: Kind(site.key), _SEEN: _tenant(site, "seen"), _NEW: _tenant(site, "new")}
        stage.serve()
        picture = f"http://{HOST}:{stage.upstream_port}{PICTURE_PATH}"

        def bodies_of(name: str) -> list[bytes]:
            if name != _NEW:
                return [submit_body("a harbour", picture)]
            most = int(_MAX_A_SECOND * given.seconds)
            return [submit_body("a harbour", f"{picture}?{next(numbers)}") for _ in range(most)]

        stage.run(given, kinds, bodies_of)
    print_kinds(kinds)
    return []


def _tenant(site: Site, name: str) -> Kind:
    site.command("tenants", "create", name, "--quiet")
    site.command("tenants", "set-media-checks", name, "enforce")
    return Kind(site.command("keys", "create", "--tenant", name, "--test", "--quiet"))
