"""Addresses: which methods one has, and which slashes are left out of it."""

import re
from collections.abc import Sequence
from typing import Final

from starlette.routing import BaseRoute, Match, Mount
from starlette.types import Scope

_EXACT: Final = frozenset({"console", "docs", "guides", "metrics", "playground", "portal"})
"""First segments of paths that are taken as they are: no client calls them, and proxies may have rules.

A slash too many would also lead the relative links of a page astray.
"""
_WHOLE: Final = "GET, HEAD, OPTIONS, POST"
_OPEN_END: Final = re.compile(r"\{[^}]*:path\}$")


class Addresses:
    """The addresses of an application with these routes."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = routes

    def tidied(self, path: str) -> str:
        """Returns the path without the doubled and trailing slashes around our own segments.

        A base URL that ends with a slash makes clients send such paths. What has slashes of its own, the id
        of a model or a file's name, loses only those around it. Whatever judges a path has to judge the
        tidied one.
        """
        if "//" not in path and (path == "/" or not path.endswith("/")):
            return path
        segments = [one for one in path.split("/") if one]
        if segments and segments[0] in _EXACT:
            return path
        for own in self._opened():
            if segments[: len(own)] == own:
                pattern = "/+".join(["", *map(re.escape, own), "(.*)"])
                matched = re.fullmatch(pattern, path, re.DOTALL)
                rest = matched[1].strip("/") if matched else ""
                return "/".join(["", *own, rest] if rest else ["", *own])
        return "/" + "/".join(segments)

    def _opened(self) -> list[list[str]]:
        """Returns our own segments of each route behind which anything may stand."""
        paths = [getattr(route, "path", "") for route in self._routes if _is_open(route)]
        return [[one for one in _OPEN_END.sub("", path).split("/") if one] for path in paths]

    def methods(self, scope: Scope) -> str:
        """Returns the methods of all routes at an address, as `Allow` has them; empty where there is none.

        HEAD is answered wherever GET is, and OPTIONS wherever there is anything. `/` stands for the server as
        a whole. Where routes have just this address, it is theirs: `/v1/models/categories` is no model's.
        """
        fitting = [route for route in self._routes if route.matches(scope)[0] is not Match.NONE]
        fitting = [one for one in fitting if getattr(one, "path", None) == scope["path"]] or fitting
        found = {method for route in fitting for method in getattr(route, "methods", None) or ("GET",)}
        if not found:
            return _WHOLE if scope["path"] == "/" else ""
        return ", ".join(sorted(found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set())))


def _is_open(route: BaseRoute) -> bool:
    return isinstance(route, Mount) or _OPEN_END.search(getattr(route, "path", "")) is not None
