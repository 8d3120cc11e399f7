"""Deliveries of webhooks and their replays, of all tenants, for the operator."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import AwareDatetime
from sqlalchemy import Connection

from app.admin import accounts, audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.paging import MAX_PAGE, Page, PageSize, page_of, unknown_cursor
from app.admin.session import AdminGateway
from app.admin.webhooks import webhook_terms
from app.admin.webhooks.webhook_endpoints import NamedDelivery
from app.auth import tenants
from app.auth.keys import Mode
from app.db.schema.webhook_states import Cause, DeliveryState
from app.errors import INVALID_WEBHOOK_ENDPOINT, FieldError, Problem
from app.kit.text import is_storable
from app.quotas.account import Owner
from app.webhooks.history import log, replays
from app.webhooks.history.log import DeliveryInFull, Filters
from app.webhooks.history.replays import Range, Replay
from app.webhooks.registry import endpoints


@dataclass(frozen=True, slots=True)
class NamedDeliveryInFull:
    """A delivery with its attempts and body, and the name of its tenant."""

    found: DeliveryInFull
    tenant: str


@dataclass(frozen=True, slots=True)
class NamedReplay:
    """A replay, and the name of its tenant."""

    replay: Replay
    tenant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries to list: all that is given must match. `tenant` is a tenant's name."""

    tenant: str | None = None
    mode: Mode | None = None
    endpoint_id: str | None = None
    message_id: str | None = None
    replay_id: str | None = None
    request_id: str | None = None
    type: str | None = None
    state: DeliveryState | None = None
    cause: Cause | None = None
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None


async def listed(
    gateway: AdminGateway, wanted: DeliveryFilter, *, limit: PageSize = MAX_PAGE, cursor: str | None = None
) -> Page[NamedDelivery]:
    """Returns deliveries of webhooks, newest first, in pages.

    A page may have fewer deliveries than asked for, even none, while more follow: a search looks at a bounded
    number of rows. There are no more where there is no next cursor.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_PARAMETER.

    """
    if cursor is not None and not log.is_delivery_id(cursor):
        raise unknown_cursor()
    texts = (wanted.endpoint_id, wanted.message_id, wanted.replay_id, wanted.request_id, wanted.type)
    if not is_storable("".join(filter(None, texts))):
        return Page((), None)
    tenant_id, mode = await accounts.tenant_id_of(gateway, wanted.tenant), wanted.mode
    filters = Filters(
        owner=None if tenant_id is None or mode is None else Owner(tenant_id, mode),
        tenant_id=tenant_id,
        mode=mode,
        endpoint_id=wanted.endpoint_id,
        message_id=wanted.message_id,
        replay_id=wanted.replay_id,
        request_id=wanted.request_id,
        types=() if wanted.type is None else (wanted.type,),
        states=() if wanted.state is None else (wanted.state,),
        causes=() if wanted.cause is None else (wanted.cause,),
        from_ms=ms_of(wanted.created_after),
        to_ms=ms_of(wanted.created_before),
    )
    found, next_cursor = await gateway.db.read(log.page, filters, before=cursor, limit=limit)
    names = await accounts.tenant_names(gateway)
    return Page([NamedDelivery(one, names.get(one.tenant_id, "")) for one in found], next_cursor)


async def show(gateway: AdminGateway, delivery_id: str) -> NamedDeliveryInFull:
    """Returns a delivery with its attempts and the event.

    Raises:
        Problem: WEBHOOK_DELIVERY_NOT_FOUND.

    """
    found = await gateway.db.read(log.find, delivery_id)
    names = await accounts.tenant_names(gateway)
    return NamedDeliveryInFull(found, names.get(found.delivery.tenant_id, ""))


async def resend(
    gateway: AdminGateway, actor: Actor, delivery_id: str, *, reason: str | None = None
) -> NamedDelivery:
    """Sends the event of a delivery to its endpoint again, with the same id and bytes.

    Raises:
        Problem: WEBHOOK_DELIVERY_NOT_FOUND, WEBHOOK_ENDPOINT_NOT_FOUND, WEBHOOK_ENDPOINT_STOPPED,
            INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> tuple[NamedDelivery, Change]:
        given = log.find(connection, delivery_id).delivery
        endpoint = endpoints.to_change(connection, given.endpoint_id)
        made = replays.resend(connection, endpoint, given, now_ms=now_ms)
        values = {"message_id": made.message_id, "endpoint_id": made.endpoint_id, "delivery_id": made.id}
        change_ = _change("webhook_delivery.resend", "webhook_delivery", given.id, given.tenant_id, values)
        return NamedDelivery(made, tenants.name_of(connection, made.tenant_id)), change_

    return await audit.write(gateway, actor, reason, change)


async def list_replays(
    gateway: AdminGateway,
    *,
    tenant: str | None = None,
    endpoint_id: str | None = None,
    limit: PageSize = MAX_PAGE,
    cursor: str | None = None,
) -> Page[NamedReplay]:
    """Returns replays of webhooks with their progress, newest first, in pages.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_PARAMETER.

    """
    if cursor is not None and not replays.is_replay_id(cursor):
        raise unknown_cursor()
    if endpoint_id is not None and not endpoints.is_endpoint_id(endpoint_id):
        return Page((), None)
    tenant_id = await accounts.tenant_id_of(gateway, tenant)
    found = await gateway.db.read(
        replays.page, tenant_id=tenant_id, endpoint_id=endpoint_id, before=cursor, limit=limit + 1
    )
    names = await accounts.tenant_names(gateway)
    named = [NamedReplay(one, names[one.tenant_id]) for one in found]
    return page_of(named, limit, lambda one: one.replay.id)


async def show_replay(gateway: AdminGateway, replay_id: str) -> NamedReplay:
    """Returns a replay with its progress.

    Raises:
        Problem: WEBHOOK_REPLAY_NOT_FOUND.

    """
    return await gateway.db.read(lambda connection: _named(connection, replays.find(connection, replay_id)))


async def replay(
    gateway: AdminGateway,
    actor: Actor,
    endpoint_id: str,
    *,
    since: AwareDatetime,
    until: AwareDatetime | None = None,
    only_failed: bool = True,
    events: Sequence[str] | None = None,
    reason: str | None = None,
) -> NamedReplay:
    """Begins to send a time's events to a webhook endpoint again; by default those that were not delivered.

    Raises:
        Problem: INVALID_WEBHOOK_ENDPOINT, WEBHOOK_ENDPOINT_NOT_FOUND, WEBHOOK_ENDPOINT_STOPPED,
            REPLAY_RUNNING, INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()
    wanted = range_of(ms_of(since) or 0, ms_of(until), only_failed=only_failed, types=events, now_ms=now_ms)

    def change(connection: Connection) -> tuple[NamedReplay, Change]:
        endpoint = endpoints.to_change(connection, endpoint_id)
        made = replays.begin(connection, endpoint, wanted, now_ms=now_ms)
        values = {
            "replay_id": made.id,
            "since_ms": wanted.since_ms,
            "until_ms": wanted.until_ms,
            "only_failed": only_failed,
            "events": None if events is None else [*events],
        }
        made_change = _change(
            "webhook_replay.begin", "webhook_endpoint", endpoint.id, endpoint.tenant_id, values
        )
        return _named(connection, made), made_change

    return await audit.write(gateway, actor, reason, change)


async def cancel_replay(
    gateway: AdminGateway, actor: Actor, replay_id: str, *, reason: str | None = None
) -> NamedReplay:
    """Ends a replay where it is. What it has made is sent all the same.

    Raises:
        Problem: WEBHOOK_REPLAY_NOT_FOUND, INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> tuple[NamedReplay, Change]:
        before = replays.find(connection, replay_id)
        after = replays.cancel(connection, before, now_ms=now_ms)
        values = {"state": after.state, "made": after.made}
        made = _change("webhook_replay.cancel", "webhook_replay", after.id, after.tenant_id, values)
        return _named(connection, after), made

    return await audit.write(gateway, actor, reason, change)


def range_of(
    since_ms: int, until_ms: int | None, *, only_failed: bool, types: Sequence[str] | None, now_ms: int
) -> Range:
    """Returns the range of a replay that is asked for; it ends now at the latest.

    Raises:
        Problem: INVALID_WEBHOOK_ENDPOINT.

    """
    webhook_terms.check_types(types)
    if types is not None and not types:
        detail = "`events` names no type of event: leave it out, or send null, for all of them."
        raise Problem(INVALID_WEBHOOK_ENDPOINT, detail, errors=[FieldError("#/events", "min_items", detail)])
    ends_ms = min(now_ms if until_ms is None else until_ms, now_ms)
    if since_ms >= ends_ms:
        detail = "`since` must be before now, and before `until`."
        raise Problem(INVALID_WEBHOOK_ENDPOINT, detail, errors=[FieldError("#/since", "range", detail)])
    return Range(since_ms=max(since_ms, 0), until_ms=ends_ms, only_undelivered=only_failed, types=types)


def ms_of(moment: AwareDatetime | None) -> int | None:
    """Returns a moment as milliseconds since 1970; None stays None."""
    return None if moment is None else int(moment.timestamp() * 1000)


def _named(connection: Connection, one: Replay) -> NamedReplay:
    return NamedReplay(one, tenants.name_of(connection, one.tenant_id))


def _change(action: str, kind: str, subject_id: str, tenant_id: str, after: dict[str, Any]) -> Change:
    return Change(
        action=action,
        subject_kind=kind,
        subject_id=subject_id,
        tenant_id=tenant_id,
        before=None,
        after=after,
    )
