"""Webhook endpoints of all tenants, for the operator. A secret is in the answer that makes it alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection

from app.admin import accounts, audit
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.paging import MAX_PAGE, Page, PageSize, page_of, unknown_cursor
from app.admin.session import AdminGateway
from app.admin.webhooks import webhook_terms
from app.auth import tenants
from app.auth.keys import Mode
from app.db.schema.webhook_states import EndpointState
from app.errors import INVALID_WEBHOOK_ENDPOINT, FieldError, Problem
from app.kit.text import is_storable
from app.quotas.account import Owner
from app.webhooks.history import trials
from app.webhooks.history.log import Delivery
from app.webhooks.registry import endpoints, rotation, secrets
from app.webhooks.registry.endpoints import Endpoint, Terms
from app.webhooks.registry.rotation import DEFAULT_GRACE_S, Resealed
from app.webhooks.registry.secrets import Scheme

_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class NamedEndpoint:
    """An endpoint, its tenant's name, and what its receiver verifies with where that is to be shown."""

    endpoint: Endpoint
    tenant: str
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NamedDelivery:
    """A delivery, and the name of its tenant."""

    delivery: Delivery
    tenant: str


async def listed(
    gateway: AdminGateway,
    *,
    tenant: str | None = None,
    mode: Mode | None = None,
    state: EndpointState | None = None,
    limit: PageSize = MAX_PAGE,
    cursor: str | None = None,
) -> Page[NamedEndpoint]:
    """Returns webhook endpoints, newest first, in pages.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_PARAMETER.

    """
    if cursor is not None and not endpoints.is_endpoint_id(cursor):
        raise unknown_cursor()
    tenant_id = await accounts.tenant_id_of(gateway, tenant)
    found = await gateway.db.read(
        endpoints.page, tenant_id=tenant_id, mode=mode, state=state, before=cursor, limit=limit + 1
    )
    names = await accounts.tenant_names(gateway)
    entries = [NamedEndpoint(one, names[one.tenant_id]) for one in found]
    return page_of(entries, limit, lambda one: one.endpoint.id)


async def show(gateway: AdminGateway, endpoint_id: str) -> NamedEndpoint:
    """Returns a webhook endpoint.

    Raises:
        Problem: WEBHOOK_ENDPOINT_NOT_FOUND.

    """
    return await gateway.db.read(
        lambda connection: named(connection, endpoints.find(connection, endpoint_id))
    )


async def create(
    gateway: AdminGateway,
    actor: Actor,
    tenant: str,
    *,
    mode: Mode,
    url: str,
    description: str = "",
    events: Sequence[str] | None = None,
    vendor_links: bool = False,
    signature: Scheme = "v1",
    reason: str | None = None,
) -> NamedEndpoint:
    """Makes a webhook endpoint of a tenant, and shows its secret.

    Raises:
        Problem: INVALID_WEBHOOK_ENDPOINT, TENANT_NOT_FOUND, TOO_MANY_WEBHOOK_ENDPOINTS,
            WEBHOOKS_NOT_CONFIGURED, INVALID_REASON.

    """
    wanted = _terms(url, description, events, vendor_links)
    webhook_terms.check(gateway, wanted)
    keys, now_ms, secret = webhook_terms.sealing_keys(gateway), gateway.clock.now_ms(), secrets.generate()

    def make(connection: Connection) -> tuple[NamedEndpoint, Change]:
        owner = tenants.by_name(connection, tenant)
        made = endpoints.create(
            connection,
            Owner(owner.id, mode),
            wanted,
            signature=signature,
            secret=secret,
            keys=keys,
            at_most=gateway.settings.webhook_endpoints,
            now_ms=now_ms,
        )
        return _shown(made, owner.name, secret), _change("create", made, None, _values(made))

    return await audit.write(gateway, actor, reason, make)


async def edit(
    gateway: AdminGateway,
    actor: Actor,
    endpoint_id: str,
    *,
    url: str,
    description: str = "",
    events: Sequence[str] | None = None,
    vendor_links: bool = False,
    reason: str | None = None,
) -> NamedEndpoint:
    """Replaces what a webhook endpoint is: its URL, note, events and links.

    Raises:
        Problem: INVALID_WEBHOOK_ENDPOINT, WEBHOOK_ENDPOINT_NOT_FOUND, INVALID_REASON.

    """
    wanted, now_ms = _terms(url, description, events, vendor_links), gateway.clock.now_ms()

    def change(connection: Connection, before: Endpoint) -> Endpoint:
        webhook_terms.check(gateway, wanted)
        return endpoints.edit(connection, before, wanted, now_ms=now_ms)

    return await _write(gateway, actor, endpoint_id, change, action="edit", reason=reason)


async def pause(
    gateway: AdminGateway, actor: Actor, endpoint_id: str, *, reason: str | None = None
) -> NamedEndpoint:
    """Sends nothing more to a webhook endpoint until it is enabled; its events wait.

    Raises:
        Problem: WEBHOOK_ENDPOINT_NOT_FOUND, WEBHOOK_ENDPOINT_STOPPED, INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection, before: Endpoint) -> Endpoint:
        return endpoints.pause(connection, before, now_ms=now_ms)

    return await _write(gateway, actor, endpoint_id, change, action="pause", reason=reason)


async def enable(
    gateway: AdminGateway, actor: Actor, endpoint_id: str, *, reason: str | None = None
) -> NamedEndpoint:
    """Sends to a webhook endpoint again that was paused, disabled or gone.

    What waited while it was paused is sent; what it missed while it was disabled or gone is for a replay.

    Raises:
        Problem: WEBHOOK_ENDPOINT_NOT_FOUND, INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection, before: Endpoint) -> Endpoint:
        return endpoints.enable(connection, before, now_ms=now_ms)

    return await _write(gateway, actor, endpoint_id, change, action="enable", reason=reason)


async def delete(
    gateway: AdminGateway, actor: Actor, endpoint_id: str, *, reason: str | None = None
) -> NamedEndpoint:
    """Deletes a webhook endpoint and its secrets, and returns it as it was. Its log is kept for its time.

    Raises:
        Problem: WEBHOOK_ENDPOINT_NOT_FOUND, INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> tuple[NamedEndpoint, Change]:
        before = endpoints.to_change(connection, endpoint_id)
        endpoints.delete(connection, before, now_ms=now_ms)
        return named(connection, before), _change("delete", before, _values(before), None)

    return await audit.write(gateway, actor, reason, change)


async def rotate(
    gateway: AdminGateway,
    actor: Actor,
    endpoint_id: str,
    *,
    grace_s: int = DEFAULT_GRACE_S,
    force: bool = False,
    reason: str | None = None,
) -> NamedEndpoint:
    """Gives a webhook endpoint a new secret, and shows it. For a time, messages are signed with both.

    Raises:
        Problem: INVALID_WEBHOOK_ENDPOINT, WEBHOOK_ENDPOINT_NOT_FOUND, ROTATION_OPEN,
            WEBHOOKS_NOT_CONFIGURED, INVALID_REASON.

    """
    webhook_terms.check_grace(grace_s)
    keys, now_ms, secret = webhook_terms.sealing_keys(gateway), gateway.clock.now_ms(), secrets.generate()

    def change(connection: Connection) -> tuple[NamedEndpoint, Change]:
        before = endpoints.to_change(connection, endpoint_id)
        after = rotation.rotate(
            connection, before, secret, keys=keys, grace_ms=grace_s * 1000, force=force, now_ms=now_ms
        )
        shown = _shown(after, tenants.name_of(connection, after.tenant_id), secret)
        return shown, _change("rotate", after, _rotation(before), _rotation(after))

    return await audit.write(gateway, actor, reason, change)


async def revoke_previous(
    gateway: AdminGateway, actor: Actor, endpoint_id: str, *, reason: str | None = None
) -> NamedEndpoint:
    """Ends the time in which messages to a webhook endpoint are signed with its previous secret too.

    Raises:
        Problem: WEBHOOK_ENDPOINT_NOT_FOUND, INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> tuple[NamedEndpoint, Change]:
        before = endpoints.to_change(connection, endpoint_id)
        after = rotation.revoke_previous(connection, before, now_ms=now_ms)
        made = _change("revoke_previous_secret", after, _rotation(before), _rotation(after))
        return named(connection, after), made

    return await audit.write(gateway, actor, reason, change)


async def send_test(
    gateway: AdminGateway, actor: Actor, endpoint_id: str, *, reason: str | None = None
) -> NamedDelivery:
    """Sends a test event to a webhook endpoint. Whether it arrives has no consequence for the endpoint.

    Raises:
        Problem: WEBHOOK_ENDPOINT_NOT_FOUND, WEBHOOK_ENDPOINT_STOPPED, INVALID_REASON.

    """
    now_ms = gateway.clock.now_ms()

    def change(connection: Connection) -> tuple[NamedDelivery, Change]:
        one = endpoints.to_change(connection, endpoint_id)
        made = trials.send(connection, one, now_ms=now_ms)
        delivery = NamedDelivery(made, tenants.name_of(connection, one.tenant_id))
        return delivery, _change("test", one, None, {"delivery_id": made.id})

    return await audit.write(gateway, actor, reason, change)


async def reseal(
    gateway: AdminGateway, actor: Actor, *, after: str = "", reason: str | None = None
) -> Resealed:
    """Seals the secrets of webhook endpoints with the first of the operator's two keys.

    At most 1,000 in one call, of endpoints with ids after `after`.

    Raises:
        Problem: INVALID_WEBHOOK_ENDPOINT, WEBHOOKS_NOT_CONFIGURED, INVALID_REASON.

    """
    if not is_storable(after):
        detail = "`after` is no `last` of an earlier call."
        raise Problem(INVALID_WEBHOOK_ENDPOINT, detail, errors=[FieldError("#/after", "pattern", detail)])
    keys = webhook_terms.sealing_keys(gateway)

    def change(connection: Connection) -> tuple[Resealed, Change]:
        done = rotation.reseal(connection, keys, after=after, limit=_AT_ONCE)
        values = {"resealed": done.resealed, "unreadable": [*done.unreadable], "key": secrets.key_id(keys[0])}
        return done, Change(
            action="webhook_secrets.reseal",
            subject_kind="webhook_secrets",
            subject_id=secrets.key_id(keys[0]),
            tenant_id=None,
            before=None,
            after=values,
        )

    return await audit.write(gateway, actor, reason, change)


async def _write(
    gateway: AdminGateway,
    actor: Actor,
    endpoint_id: str,
    change: Callable[[Connection, Endpoint], Endpoint],
    *,
    action: str,
    reason: str | None,
) -> NamedEndpoint:
    def changed(connection: Connection) -> tuple[NamedEndpoint, Change]:
        before = endpoints.to_change(connection, endpoint_id)
        after = change(connection, before)
        return named(connection, after), _change(action, after, _values(before), _values(after))

    return await audit.write(gateway, actor, reason, changed)


def _terms(url: str, description: str, events: Sequence[str] | None, vendor_links: bool) -> Terms:  # noqa: FBT001 - by its name
    return Terms(
        url=url,
        description=description,
        events=None if events is None else tuple(events),
        vendor_links=vendor_links,
    )


def named(connection: Connection, one: Endpoint) -> NamedEndpoint:
    """Returns an endpoint with its tenant's name."""
    return NamedEndpoint(one, tenants.name_of(connection, one.tenant_id))


def _shown(one: Endpoint, tenant: str, secret: bytes) -> NamedEndpoint:
    return NamedEndpoint(one, tenant, secrets.shown(secret, "v1") if one.signature == "v1" else None)


def _change(
    action: str, one: Endpoint, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> Change:
    return Change(
        action=f"webhook_endpoint.{action}",
        subject_kind="webhook_endpoint",
        subject_id=one.id,
        tenant_id=one.tenant_id,
        before=before,
        after=after,
    )


def _values(one: Endpoint) -> dict[str, Any]:
    terms = one.terms
    return {
        "mode": one.mode,
        "url": terms.url,
        "description": terms.description,
        "events": None if terms.events is None else [*terms.events],
        "vendor_links": terms.vendor_links,
        "signature": one.signature,
        "state": one.state,
    }


def _rotation(one: Endpoint) -> dict[str, Any]:
    return {"previous_until_ms": one.previous_until_ms}
