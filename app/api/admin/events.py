"""The event stream of operators: that something changed, of whichever tenant, and nothing of it."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from app.api.v1.events import PING, Blocks, EventStream
from app.auth.admin_keys import AdminScope
from app.auth.permits import Operator
from app.documents.problems import problem as of_problem
from app.gateway import Gateway
from app.generations.following.changes import KINDS
from app.generations.following.watch import OPERATORS
from app.kit.clock import Waits, wait_for_event

PATH: Final = "/admin/v1/events"
SCOPE: Final[AdminScope] = "read"
TAG: Final = "system"
SUMMARY: Final = "Follows what changes."
TEXT: Final = (
    "An event stream (server-sent events), at most one event a second: `event: changed` with"
    ' `{"kinds": ["requests"]}` says that something of these kinds changed, of any tenant.'
    f" The kinds are {', '.join(f'`{one}`' for one in KINDS)}."
    " Ask for what you show; ask once whenever you connect, because nothing is repeated. The last event of a"
    " caller whose key or session has ended is `problem`, with a problem document."
)
_PACE_S: Final = 1.0


def stream_changes(gateway: Gateway, operator: Operator) -> EventStream:
    """Returns the stream for an operator."""
    return EventStream(_changes(gateway, operator), gateway.following.watch, OPERATORS)


async def _changes(gateway: Gateway, operator: Operator) -> AsyncGenerator[bytes]:
    watch, permits, settings = gateway.following.watch, gateway.access.permits, gateway.settings
    bell, blocks = asyncio.Event(), Blocks()
    with (
        watch.of_everything(bell) as numbers,
        permits.held(operator, bell) as permit,
        Waits(bell, gateway.clock, within_s=settings.heartbeat_s) as waits,
    ):
        seen = dict(numbers)
        yield PING
        while not watch.closing.is_set():
            bell.clear()
            if (ended := await permits.judge(permit)) is not None:
                document: Any = of_problem(ended, None, base_url=settings.base_url, instance=PATH)
                yield blocks.named("problem", document)
                return
            if changed := [kind for kind in KINDS if numbers[kind] != seen.get(kind, 0)]:
                seen = dict(numbers)
                yield blocks.named("changed", {"kinds": changed})
                await wait_for_event(watch.closing, gateway.clock, within_s=_PACE_S)
            if not await waits.wait():
                yield PING
