"""The dispatch of queued requests, as operators read it."""

from collections.abc import Mapping
from typing import Annotated, TypedDict

from app.admin.dispatch import MODES, Dispatch, DispatchStatus
from app.auth.keys import Mode
from app.documents.fields import Moment, iso_or_none
from app.documents.schema import keywords
from app.generations.queue.backlog import Backlog


class PausedSince(TypedDict):
    """Since when the dispatch of each mode is paused; null where it is not."""

    live: Moment | None
    test: Moment | None


class PausedDispatch(TypedDict):
    """What is paused after a change: the dispatch of one tenant's requests, or that of all (null)."""

    tenant: str | None
    paused_since: Annotated[PausedSince, keywords("Modes that the change was not of are null.")]


class Queue(TypedDict):
    """A tenant's queue in one mode. Nothing of it is sent while it is paused or its tenant disabled."""

    tenant: str
    mode: Mode
    queued: int
    oldest_at: Annotated[Moment | None, keywords("When the request at its head was made.")]
    in_flight: Annotated[int, keywords("How many of the tenant's requests RunComfy has now.")]
    weight: int
    share: Annotated[
        float, keywords("Its share of what is sent while the same queues have requests, from 0 to 1.")
    ]
    sent: Annotated[int, keywords("How many requests were ever sent from it.")]
    paused: bool
    disabled: bool


class Queues(TypedDict):
    """Every queue, and which modes are paused."""

    paused_since: PausedSince
    queues: list[Queue]


def paused_dispatch(one: Dispatch) -> PausedDispatch:
    """Returns the document of what is paused after a change."""
    return {"tenant": one.tenant, "paused_since": _paused_since(one.paused_since_ms)}


def queues(found: DispatchStatus) -> Queues:
    """Returns the document of every queue."""
    return {
        "paused_since": _paused_since(found.paused_since_ms),
        "queues": [_queue(one, found.share(one)) for one in found.queues],
    }


def _queue(one: Backlog, share: float) -> Queue:
    return {
        "tenant": one.tenant,
        "mode": one.mode,
        "queued": one.queued,
        "oldest_at": iso_or_none(one.oldest_at_ms),
        "in_flight": one.in_flight,
        "weight": one.weight,
        "share": round(share, 4),
        "sent": one.served,
        "paused": one.paused,
        "disabled": one.disabled,
    }


def _paused_since(at_ms: Mapping[Mode, int | None]) -> PausedSince:
    live, test = (iso_or_none(at_ms.get(mode)) for mode in MODES)
    return {"live": live, "test": test}
