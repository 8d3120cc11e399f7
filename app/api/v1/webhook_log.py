"""Handlers of webhooks' deliveries and replays, for API keys."""

from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import AwareDatetime, Field
from sqlalchemy import Connection
from starlette.responses import Response

from app.admin.paging import unknown_cursor
from app.admin.webhooks import webhook_log
from app.api.bodies import json_response
from app.api.deps import CanReadWebhooks, CanWriteWebhooks, Open
from app.api.query import moment_ms
from app.api.v1.usage import next_link
from app.api.v1.webhooks import Body, Events, body_of, owner_of
from app.db.schema.webhook_states import Cause, DeliveryState
from app.documents import webhook_deliveries as documents
from app.generations import events as event_rows
from app.generations import messages
from app.webhooks.history import log, replays
from app.webhooks.history.log import Filters
from app.webhooks.registry import endpoints

State = Literal["pending", "delivering", "delivered", "failed", "cancelled"]
Reason = Literal["event", "replay", "test"]
_ID = r"^[A-Za-z0-9_.-]{1,64}$"


class _ReplayBody(Body):
    """`NewWebhookReplay` publishes it."""

    since: Annotated[AwareDatetime, Field(strict=False)]
    until: Annotated[AwareDatetime | None, Field(strict=False)] = None
    only_failed: bool = True
    events: Events | None = None


async def list_webhook_messages(
    gateway: Open,
    principal: CanReadWebhooks,
    *,
    after_event: Annotated[int | None, Query(ge=-(2**53), le=2**53)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """The tenant's events as webhook endpoints are sent them, whether there are any endpoints or not."""
    tenant_id, mode = principal.tenant_id, principal.mode
    last = await gateway.db.read(event_rows.last_number, tenant_id, mode)
    from_the_end = after_event is None or after_event < 0
    after = max(0, last + (after_event or 0)) if from_the_end else after_event or 0
    found, last = await gateway.db.read(messages.told, tenant_id, mode, after=after, limit=limit)
    return json_response(documents.messages(found, last))


async def list_webhook_deliveries(
    request: Request,
    gateway: Open,
    principal: CanReadWebhooks,
    *,
    endpoint_id: Annotated[str | None, Query(pattern=_ID)] = None,
    message_id: Annotated[str | None, Query(pattern=_ID)] = None,
    replay_id: Annotated[str | None, Query(pattern=_ID)] = None,
    request_id: Annotated[str | None, Query(pattern=_ID)] = None,
    type_: Annotated[list[str] | None, Query(alias="type", max_length=20)] = None,
    state: Annotated[list[State] | None, Query(max_length=len(DeliveryState))] = None,
    cause: Annotated[list[Reason] | None, Query(max_length=len(Cause))] = None,
    created_after: Annotated[str | None, Query()] = None,
    created_before: Annotated[str | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """Deliveries of webhooks in the mode of this key, newest first, without attempts and events."""
    if cursor is not None and not log.is_delivery_id(cursor):
        raise unknown_cursor()
    wanted = Filters(
        owner=owner_of(principal),
        endpoint_id=endpoint_id,
        message_id=message_id,
        replay_id=replay_id,
        request_id=request_id,
        types=type_ or (),
        states=[DeliveryState(one) for one in state or ()],
        causes=[Cause(one) for one in cause or ()],
        from_ms=moment_ms("created_after", created_after),
        to_ms=moment_ms("created_before", created_before),
    )
    shown, next_cursor = await gateway.db.read(log.page, wanted, before=cursor, limit=limit)
    headers = {} if next_cursor is None else {"Link": next_link(request, gateway.base_url, next_cursor)}
    return json_response(documents.delivery_page(shown, next_cursor), headers=headers)


async def get_webhook_delivery(gateway: Open, principal: CanReadWebhooks, delivery_id: str) -> Response:
    """A delivery with every attempt, and the event as it is sent."""
    found = await gateway.db.read(log.find, delivery_id, owner_of(principal))
    return json_response(documents.delivery_in_full(found))


async def resend_webhook_delivery(gateway: Open, principal: CanWriteWebhooks, delivery_id: str) -> Response:
    """Send the event of a delivery to its endpoint again, with the same id and bytes."""
    now_ms, owner = gateway.clock.now_ms(), owner_of(principal)

    def send(connection: Connection) -> Any:
        given = log.find(connection, delivery_id, owner).delivery
        endpoint = endpoints.to_change(connection, given.endpoint_id, owner)
        return replays.resend(connection, endpoint, given, now_ms=now_ms)

    made = await gateway.db.write_for(principal.tenant_id, send)
    return json_response(documents.delivery(made), status_code=201)


async def replay_webhooks(
    request: Request, gateway: Open, principal: CanWriteWebhooks, endpoint_id: str
) -> Response:
    """Send a time's events to a webhook endpoint again, in the background; by default what has failed."""
    asked = await body_of(request, gateway, _ReplayBody)
    now_ms = gateway.clock.now_ms()
    wanted = webhook_log.range_of(
        webhook_log.ms_of(asked.since) or 0,
        webhook_log.ms_of(asked.until),
        only_failed=asked.only_failed,
        types=asked.events,
        now_ms=now_ms,
    )

    def begin(connection: Connection) -> Any:
        endpoint = endpoints.to_change(connection, endpoint_id, owner_of(principal))
        return replays.begin(connection, endpoint, wanted, now_ms=now_ms)

    made = await gateway.db.write_for(principal.tenant_id, begin)
    return json_response(documents.replay(made), status_code=201)


async def list_webhook_replays(
    request: Request,
    gateway: Open,
    principal: CanReadWebhooks,
    *,
    endpoint_id: Annotated[str | None, Query(pattern=_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """Replays of webhooks in the mode of this key, with their progress, newest first."""
    if cursor is not None and not replays.is_replay_id(cursor):
        raise unknown_cursor()
    found = await gateway.db.read(
        replays.page, owner=owner_of(principal), endpoint_id=endpoint_id, before=cursor, limit=limit + 1
    )
    shown = found[:limit]
    next_cursor = shown[-1].id if len(found) > limit else None
    headers = {} if next_cursor is None else {"Link": next_link(request, gateway.base_url, next_cursor)}
    return json_response(documents.replay_page(shown, next_cursor), headers=headers)


async def get_webhook_replay(gateway: Open, principal: CanReadWebhooks, replay_id: str) -> Response:
    """A replay, with how far it has come."""
    return json_response(
        documents.replay(await gateway.db.read(replays.find, replay_id, owner_of(principal)))
    )


async def cancel_webhook_replay(gateway: Open, principal: CanWriteWebhooks, replay_id: str) -> Response:
    """End a replay where it is. What it has made is sent all the same."""
    now_ms = gateway.clock.now_ms()

    def cancel(connection: Connection) -> Any:
        return replays.cancel(
            connection, replays.find(connection, replay_id, owner_of(principal)), now_ms=now_ms
        )

    return json_response(documents.replay(await gateway.db.write_for(principal.tenant_id, cancel)))
