"""The dispatch of queued requests, as operators read it."""

from typing import Annotated, TypedDict

from app.auth.keys import Mode
from app.documents.fields import Moment
from app.documents.schema import keywords


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
