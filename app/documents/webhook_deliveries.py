"""Deliveries of webhooks, their attempts and replays, as their owners and operators read them."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from app.auth.keys import Mode
from app.db.schema.webhook_states import Cause, DeliveryState, ReplayState
from app.documents.fields import EventNumber, Moment, iso_or_none
from app.documents.schema import keywords
from app.documents.webhook_endpoints import EndpointId
from app.generations.messages import Told
from app.kit.clock import iso
from app.webhooks.history.log import Attempt, Delivery, DeliveryInFull
from app.webhooks.history.replays import Replay

DeliveryId = Annotated[str, keywords("The id of a delivery, which begins with `dlv_`.")]
ReplayId = Annotated[str, keywords("The id of a replay, which begins with `rpl_`.")]
Status = Annotated[int | None, keywords("The status of the answer; null: there was none.")]
ErrorClass = Annotated[str | None, keywords("Why it failed; null: it has succeeded.")]


class WebhookDelivery(TypedDict):
    """The sending of one event to one endpoint, with as many attempts as it takes."""

    delivery_id: DeliveryId
    message_id: Annotated[str, keywords("The event's `webhook-id`: the same in every delivery of the event.")]
    endpoint_id: EndpointId
    mode: Mode
    type: Annotated[str, keywords("The type of event, such as `request.completed`.")]
    cause: Annotated[str, keywords("Why it was made.", enum=[*Cause])]
    replay_id: Annotated[str | None, keywords("The replay that made it.")]
    state: Annotated[
        str,
        keywords(
            "`failed`: its last attempt failed, there are no more. `cancelled`: it was not sent.",
            enum=[*DeliveryState],
        ),
    ]
    attempts: Annotated[int, keywords("How many attempts have begun.")]
    last_status: Status
    last_error: ErrorClass
    last_attempt_at: Moment | None
    next_attempt_at: Annotated[
        Moment | None, keywords("While it is `pending`: when it is tried at the earliest.")
    ]
    created_at: Moment
    finished_at: Moment | None


class WebhookDeliveryPage(TypedDict):
    """A page of deliveries, newest first."""

    deliveries: list[WebhookDelivery]
    next_cursor: str | None


class WebhookAttempt(TypedDict):
    """One attempt of a delivery."""

    number: Annotated[int, keywords("1, 2, 3 …")]
    at: Moment
    took_ms: int
    status: Status
    error: ErrorClass
    answer: Annotated[str | None, keywords("The first KiB of the answer's body.")]


class WebhookDeliveryInFull(WebhookDelivery):
    """A delivery with its attempts, the oldest first, and the event as it is sent."""

    request_id: Annotated[str | None, keywords("The request that the event is about.")]
    attempt_log: list[WebhookAttempt]
    payload: Annotated[dict[str, Any] | None, keywords("The event; null: it has been erased.")]


class WebhookReplay(TypedDict):
    """A replay: deliveries of a time that are sent again, in the background."""

    replay_id: ReplayId
    endpoint_id: EndpointId
    mode: Mode
    since: Moment
    until: Moment
    only_failed: Annotated[bool, keywords("Whether it is of events alone that were not delivered.")]
    events: Annotated[list[str] | None, keywords("The types of events; null: all.")]
    state: Annotated[str, keywords(enum=[*ReplayState])]
    deliveries_seen: Annotated[int, keywords("How many deliveries of the time it has looked at.")]
    deliveries_made: Annotated[int, keywords("How many it has made; each has this `replay_id`.")]
    created_at: Moment
    changed_at: Moment
    finished_at: Moment | None


class WebhookReplayPage(TypedDict):
    """A page of replays, newest first."""

    replays: list[WebhookReplay]
    next_cursor: str | None


class NewWebhookReplay(TypedDict, total=False):
    """The body of a request for a replay; `api.v1.webhooks` parses it."""

    since: Annotated[Moment, keywords("Deliveries that were made at this moment or later.")]
    until: Annotated[Moment | None, keywords("And before this moment; null: until now.")]
    only_failed: Annotated[
        bool, keywords("Only events that were not delivered. False: all, also once more.", default=True)
    ]
    events: Annotated[list[str] | None, keywords("Only events of these types.", default=None)]


class WebhookMessage(TypedDict):
    """An event as endpoints are sent it."""

    message_id: Annotated[str, keywords("Its `webhook-id`.")]
    type: str
    event_number: EventNumber
    payload: Annotated[dict[str, Any], keywords("The body that is sent.")]


class WebhookMessages(TypedDict):
    """Events as endpoints are sent them, the oldest first."""

    messages: list[WebhookMessage]
    last_event_number: Annotated[
        int, keywords("`after_event` of the next call: every event up to it was looked at.")
    ]


def messages(found: Sequence[Told], last: int) -> WebhookMessages:
    """Returns the document of messages."""
    return {
        "messages": [
            {
                "message_id": one.id,
                "type": one.kind,
                "event_number": one.number,
                "payload": json.loads(one.body),
            }
            for one in found
        ],
        "last_event_number": last,
    }


def delivery(one: Delivery) -> WebhookDelivery:
    """Returns the document of a delivery."""
    return {
        "delivery_id": one.id,
        "message_id": one.message_id,
        "endpoint_id": one.endpoint_id,
        "mode": one.mode,
        "type": one.type,
        "cause": one.cause,
        "replay_id": one.replay_id,
        "state": one.state,
        "attempts": one.attempts,
        "last_status": one.last_status,
        "last_error": one.last_error,
        "last_attempt_at": iso_or_none(one.last_at_ms),
        "next_attempt_at": iso(one.next_at_ms) if one.state is DeliveryState.PENDING else None,
        "created_at": iso(one.created_at_ms),
        "finished_at": iso_or_none(one.finished_at_ms),
    }


def delivery_page(found: Sequence[Delivery], next_cursor: str | None) -> WebhookDeliveryPage:
    """Returns a page of deliveries."""
    return {"deliveries": [delivery(one) for one in found], "next_cursor": next_cursor}


def delivery_in_full(found: DeliveryInFull) -> WebhookDeliveryInFull:
    """Returns the document of a delivery with its attempts and its event."""
    return {
        **delivery(found.delivery),
        "request_id": found.generation_id,
        "attempt_log": [_attempt(one) for one in found.attempts],
        "payload": None if found.body is None else json.loads(found.body),
    }


def _attempt(one: Attempt) -> WebhookAttempt:
    return {
        "number": one.n,
        "at": iso(one.at_ms),
        "took_ms": one.ms,
        "status": one.status,
        "error": one.error,
        "answer": one.answer,
    }


def replay(one: Replay) -> WebhookReplay:
    """Returns the document of a replay."""
    return {
        "replay_id": one.id,
        "endpoint_id": one.endpoint_id,
        "mode": one.mode,
        "since": iso(one.range.since_ms),
        "until": iso(one.range.until_ms),
        "only_failed": one.range.only_undelivered,
        "events": None if one.range.types is None else [*one.range.types],
        "state": one.state,
        "deliveries_seen": one.seen,
        "deliveries_made": one.made,
        "created_at": iso(one.created_at_ms),
        "changed_at": iso(one.changed_at_ms),
        "finished_at": iso_or_none(one.finished_at_ms),
    }


def replay_page(found: Sequence[Replay], next_cursor: str | None) -> WebhookReplayPage:
    """Returns a page of replays."""
    return {"replays": [replay(one) for one in found], "next_cursor": next_cursor}
