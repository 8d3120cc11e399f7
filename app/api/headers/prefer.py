"""Preferences of a caller: `?wait=N`, and `Prefer: wait=N, handling=strict` (RFC 7240)."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from app.auth.principal import Principal
from app.errors import INVALID_PARAMETER, FieldError, Problem
from app.gateway import Gateway
from app.generations.following.watch import StreamOwner
from app.generations.store import Generation

APPLIED = "Preference-Applied"
_WAIT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Preferences:
    """The preferences that are granted.

    `wait_s` is the time for which a response may be held. `strict` asks for an error instead of a success
    where nothing was done. `applied` are the members of `Prefer` that are granted, as the response names
    them.
    """

    wait_s: int = 0
    strict: bool = False
    applied: tuple[str, ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        """The response headers that name the applied preferences."""
        return {APPLIED: ", ".join(self.applied)} if self.applied else {}


def preferences_of(request: Request, gateway: Gateway) -> Preferences:
    """Returns the caller's preferences, within what this gateway grants; a malformed `Prefer` is ignored.

    Raises:
        Problem: INVALID_PARAMETER, for a `wait` in the query that is no number.

    """
    members: dict[str, str] = {}
    for member in ",".join(request.headers.getlist("prefer")).split(","):
        name, _, value = member.partition(";")[0].partition("=")
        members.setdefault(name.strip().lower(), value.strip().strip('"').lower())
    applied = []
    wait_s = 0
    max_s = gateway.settings.max_wait_s
    asked = request.query_params.get("wait")
    if asked is not None:  # the query takes precedence over the header
        if not _WAIT.fullmatch(asked):
            error = FieldError("#/query/wait", "wait", "is not a whole number of seconds")
            raise Problem(INVALID_PARAMETER, "`wait` is not a whole number of seconds.", errors=[error])
        wait_s = min(int(asked), max_s)
    elif _WAIT.fullmatch(members.get("wait", "")):
        wait_s = min(int(members["wait"]), max_s)
        applied.append(f"wait={wait_s}")
    if strict := members.get("handling") == "strict":
        applied.append("handling=strict")
    return Preferences(wait_s, strict, tuple(applied))


def stream_owner_of(principal: Principal) -> StreamOwner:
    """Returns the owner by whom streams and held responses are counted: the tenant, and the client token."""
    return StreamOwner(principal.tenant_id, principal.token.token_id if principal.token else None)


async def wait_for(
    gateway: Gateway,
    principal: Principal,
    generation: Generation,
    wait_s: int,
    done: Callable[[Generation], bool],
) -> Generation:
    """Waits up to `wait_s` seconds until the generation is `done`; returns it as it is then.

    It does not wait where the caller holds as many streams and responses as it may, or where the server is
    stopping.

    Raises:
        Problem: INVALID_API_KEY, INVALID_CLIENT_TOKEN, EXPIRED_CLIENT_TOKEN; DATABASE_UNAVAILABLE.

    """
    watch, owner = gateway.following.watch, stream_owner_of(principal)
    if not wait_s or generation.terminal or done(generation) or watch.full(owner):
        return generation
    with watch.place(owner):
        found = await watch.until(generation, done, within_s=wait_s)
    await gateway.access.authenticator.check(principal)  # the key or token may have ended meanwhile
    return found
