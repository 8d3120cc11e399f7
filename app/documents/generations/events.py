"""Events of requests and positions in the queue, as event streams and records show them."""

from typing import Annotated, TypedDict

from app.db.schema.asset_states import ENDED
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


class Threshold(TypedDict):
    """A threshold of a budget or balance that a submit crossed, in streams of all of a tenant's events."""

    number: EventNumber
    at: Moment
    policy: Annotated[str, keywords("The limit's name, such as `key-credits-day`.")]
    kid: str | None
    model_id: str | None
    end_user: str | None
    period: Annotated[str, keywords("The day, the month, or `total`.")]
    percent: Annotated[int, keywords("The threshold: this percentage of the amount is used, or more.")]
    amount: Annotated[int, keywords("Of credits: in micro-credits. Of a balance: with what was paid in.")]
    used: Annotated[int, keywords("What is held and spent.")]


def threshold(one: events.ThresholdEvent) -> Threshold:
    """Returns a crossed threshold as event streams send it."""
    crossing = one.crossing
    scope = crossing.limit.scope
    return {
        "number": one.number,
        "at": iso(one.at_ms),
        "policy": crossing.limit.policy,
        "kid": scope.kid or None,
        "model_id": scope.model_id or None,
        "end_user": scope.end_user or None,
        "period": crossing.window.partition(":")[0],
        "percent": crossing.percent,
        "amount": crossing.amount,
        "used": crossing.used,
    }


class StoppedEndpoint(TypedDict):
    """A webhook endpoint that was disabled, in streams of all of a tenant's events."""

    number: EventNumber
    at: Moment
    endpoint_id: str
    state: Annotated[str, keywords("What it is now.", enum=["disabled", "gone"])]
    reason: Annotated[
        str,
        keywords(
            "`failing`: for five days; `gone`: it answered 410 twice; `secret_unreadable`: by the gateway."
        ),
    ]


def endpoint(one: events.EndpointEvent) -> StoppedEndpoint:
    """Returns a disabled webhook endpoint as event streams send it."""
    return {
        "number": one.number,
        "at": iso(one.at_ms),
        "endpoint_id": one.endpoint_id,
        "state": one.state,
        "reason": one.reason,
    }


class EndedAsset(TypedDict):
    """A copy of an output's file that was stored, given up, or removed: in streams of all events."""

    number: EventNumber
    at: Moment
    asset_id: str
    request_id: Id
    state: Annotated[str, keywords(enum=[str(one) for one in ENDED])]
    reason: Annotated[
        str,
        keywords(
            "`copied`; of `failed` and `gone`, the class of the error; of `expired`, `retention` or"
            " `deleted`."
        ),
    ]


def asset(one: events.AssetEvent) -> EndedAsset:
    """Returns the end of a copy as event streams send it."""
    return {
        "number": one.number,
        "at": iso(one.at_ms),
        "asset_id": one.asset_id,
        "request_id": one.generation_id,
        "state": one.state,
        "reason": one.reason,
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
