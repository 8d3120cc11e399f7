"""Events of requests and positions in the queue, as event streams and records show them."""

from typing import Annotated, TypedDict

from app.documents.fields import EventNumber, Id, Moment, StatusName
from app.documents.schema import keywords
from app.generations import events
from app.generations.lifecycle import STATUS_NAMES, TERMINAL, State
from app.kit.clock import iso


class Event(TypedDict):
    """One change of a request's state."""

    request_id: Id
    number: EventNumber
    version: Annotated[int, keywords("The request's version since this event: 1, 2, 3 …")]
    state: State
    status: Annotated[StatusName, keywords("The status as RunComfy names it.")]
    at: Moment
    reason: str
    final: Annotated[bool, keywords("Whether it is the request's last event.")]


def event(one: events.Event) -> Event:
    """Returns a stored event as event streams send it."""
    return {
        "request_id": one.generation_id,
        "number": one.number,
        "version": one.version,
        "state": one.state,
        "status": STATUS_NAMES[one.state],
        "at": iso(one.at_ms),
        "reason": one.reason,
        "final": one.state in TERMINAL,
    }


class RecordedEvent(TypedDict):
    """One change of a request's state, in the request's own record."""

    version: int
    number: EventNumber
    state: State
    at: Moment
    reason: str


def recorded_event(one: events.Event) -> RecordedEvent:
    """Returns a stored event as the record of its request shows it."""
    return {
        "version": one.version,
        "number": one.number,
        "state": one.state,
        "at": iso(one.at_ms),
        "reason": one.reason,
    }


class Position(TypedDict):
    """A request's place in the queue. Event streams send it too, but the contract does not publish it."""

    request_id: Id
    queue_position: int


def position(request_id: str, queue_position: int) -> Position:
    """Returns a request's place in the queue as event streams send it."""
    return {"request_id": request_id, "queue_position": queue_position}
