"""Endpoints of webhooks, as their owners manage them: the rows, and what may be done in which state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from app.auth.keys import Mode
from app.db.schema.tables import webhook_endpoints
from app.db.schema.webhook_states import EndpointState
from app.errors import (
    TOO_MANY_WEBHOOK_ENDPOINTS,
    WEBHOOK_ENDPOINT_NOT_FOUND,
    WEBHOOK_ENDPOINT_STOPPED,
    Problem,
)
from app.kit.clock import iso
from app.kit.ids import is_id, new_id
from app.kit.json import from_column, to_column
from app.quotas.account import Owner, lock_tenant
from app.webhooks.registry import secrets, subscriptions
from app.webhooks.registry.secrets import Scheme

PREFIX: Final = "ep_"
_ROW: Final = webhook_endpoints.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What its owner says of an endpoint. `events` are the types that it hears; None: all, also new ones."""

    url: str
    description: str = ""
    events: tuple[str, ...] | None = None
    vendor_links: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint. `secret` and `previous_secret` are sealed."""

    id: str
    tenant_id: str
    mode: Mode
    terms: Terms
    state: EndpointState
    state_reason: str | None
    state_since_ms: int
    signature: Scheme
    secret: str = field(repr=False)
    previous_secret: str | None = field(repr=False)
    previous_until_ms: int | None
    failing_since_ms: int | None
    created_at_ms: int
    changed_at_ms: int

    @property
    def owner(self) -> Owner:
        """Whose it is."""
        return Owner(self.tenant_id, self.mode)

    def rotation_ends_at_ms(self, now_ms: int) -> int | None:
        """Returns until when messages are signed with the previous secret too; None where they are not."""
        if self.previous_secret is None or (self.previous_until_ms or 0) <= now_ms:
            return None
        return self.previous_until_ms

    def refuse_if_stopped(self) -> None:
        """Refuses to send anything to an endpoint that is disabled or gone.

        Raises:
            Problem: WEBHOOK_ENDPOINT_STOPPED.

        """
        if self.state in {EndpointState.DISABLED, EndpointState.GONE}:
            detail = f"The endpoint is {self.state} since {iso(self.state_since_ms)}."
            raise Problem(WEBHOOK_ENDPOINT_STOPPED, detail)


def is_endpoint_id(text: str) -> bool:
    """Returns whether a text has the form of an endpoint's id."""
    return text.startswith(PREFIX) and is_id(text.removeprefix(PREFIX))


def _select() -> Select[Any]:
    return select(webhook_endpoints).where(_ROW.deleted_at_ms.is_(None))


def page(
    connection: Connection,
    *,
    owner: Owner | None = None,
    tenant_id: str | None = None,
    mode: str | None = None,
    state: EndpointState | None = None,
    before: str | None = None,
    limit: int,
) -> list[Endpoint]:
    """Returns endpoints, newest first: an owner's, or those of all tenants that match, before an id."""
    if owner is not None:
        tenant_id, mode = owner.tenant_id, owner.mode
    query = _select().where(_ROW.tenant_id != "").order_by(_ROW.id.desc()).limit(limit)
    for column, value in ((_ROW.tenant_id, tenant_id), (_ROW.mode, mode), (_ROW.state, state)):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(_ROW.id < before)
    return [_endpoint(row) for row in connection.execute(query)]


def find(connection: Connection, endpoint_id: str, owner: Owner | None = None) -> Endpoint:
    """Returns an endpoint, of this owner alone where one is given.

    Raises:
        Problem: WEBHOOK_ENDPOINT_NOT_FOUND, in the same words for one that is somebody else's.

    """
    return _found(connection, endpoint_id, owner, _select())


def to_change(connection: Connection, endpoint_id: str, owner: Owner | None = None) -> Endpoint:
    """Returns an endpoint as `find`, and keeps its row from other changes until the commit.

    Its tenant's row is locked first, as everywhere: whoever records an event of the tenant holds that lock.

    Raises:
        Problem: WEBHOOK_ENDPOINT_NOT_FOUND.

    """
    found = find(connection, endpoint_id, owner)
    lock_tenant(connection, found.tenant_id)
    return _found(connection, endpoint_id, owner, _select().with_for_update())


def _found(connection: Connection, endpoint_id: str, owner: Owner | None, query: Select[Any]) -> Endpoint:
    row = None
    if is_endpoint_id(endpoint_id):
        row = connection.execute(query.where(_ROW.id == endpoint_id, _ROW.tenant_id != "")).one_or_none()
    if row is None or (owner is not None and (row.tenant_id, row.mode) != (owner.tenant_id, owner.mode)):
        raise Problem(WEBHOOK_ENDPOINT_NOT_FOUND, "This tenant has no such webhook endpoint.")
    return _endpoint(row)


def count(connection: Connection, owner: Owner) -> int:
    """Returns how many endpoints an owner has."""
    query = select(func.count()).where(
        _ROW.tenant_id == owner.tenant_id, _ROW.mode == owner.mode, _ROW.deleted_at_ms.is_(None)
    )
    return connection.execute(query).scalar_one()


def create(
    connection: Connection,
    owner: Owner,
    terms: Terms,
    *,
    signature: Scheme,
    secret: bytes,
    keys: Sequence[str],
    at_most: int,
    now_ms: int,
) -> Endpoint:
    """Makes an endpoint, whose secret is sealed with the first key.

    Raises:
        Problem: TOO_MANY_WEBHOOK_ENDPOINTS.

    """
    lock_tenant(connection, owner.tenant_id)
    if count(connection, owner) >= at_most:
        detail = f"A tenant may have {at_most} webhook endpoints in each mode."
        raise Problem(TOO_MANY_WEBHOOK_ENDPOINTS, detail)
    endpoint_id = PREFIX + new_id(now_ms)
    connection.execute(
        insert(webhook_endpoints).values(
            id=endpoint_id,
            tenant_id=owner.tenant_id,
            mode=owner.mode,
            **_columns(terms),
            state=EndpointState.ENABLED,
            state_since_ms=now_ms,
            signature=signature,
            secret=secrets.seal(secret, keys, bound_to=endpoint_id),
            created_at_ms=now_ms,
            changed_at_ms=now_ms,
        )
    )
    subscriptions.changed(connection, owner.tenant_id, cast("Mode", owner.mode))
    return find(connection, endpoint_id)


def edit(connection: Connection, one: Endpoint, terms: Terms, *, now_ms: int) -> Endpoint:
    """Replaces what an endpoint's owner says of it. `one` is from `to_change`, as in all functions below."""
    return changed(connection, one, now_ms=now_ms, **_columns(terms))


def pause(connection: Connection, one: Endpoint, *, now_ms: int) -> Endpoint:
    """Sends nothing more to an endpoint until it is enabled; what is to be sent waits.

    Raises:
        Problem: WEBHOOK_ENDPOINT_STOPPED: it is disabled or gone.

    """
    one.refuse_if_stopped()
    if one.state is EndpointState.PAUSED:
        return one
    return changed(connection, one, now_ms=now_ms, state=EndpointState.PAUSED, state_since_ms=now_ms)


def enable(connection: Connection, one: Endpoint, *, now_ms: int) -> Endpoint:
    """Sends to an endpoint again.

    What waited while it was paused is sent. Nothing is sent by itself of what was made before or while it was
    disabled or gone: that is for a replay.
    """
    if one.state is EndpointState.ENABLED:
        return one
    anew: dict[str, Any] = {}
    if one.state is not EndpointState.PAUSED:
        anew = {"active_from_ms": now_ms, "failing_since_ms": None, "gone_since_ms": None, "held_until_ms": 0}
    return changed(
        connection,
        one,
        now_ms=now_ms,
        state=EndpointState.ENABLED,
        state_reason=None,
        state_since_ms=now_ms,
        **anew,
    )


def delete(connection: Connection, one: Endpoint, *, now_ms: int) -> None:
    """Deletes an endpoint with its secrets. Its row stays for the log of its deliveries."""
    connection.execute(
        update(webhook_endpoints)
        .where(_ROW.id == one.id)
        .values(
            deleted_at_ms=now_ms,
            changed_at_ms=now_ms,
            secret="",
            previous_secret=None,
            previous_until_ms=None,
            version=_ROW.version + 1,
        )
    )
    subscriptions.changed(connection, one.tenant_id, one.mode)


def changed(connection: Connection, one: Endpoint, *, now_ms: int, **values: Any) -> Endpoint:
    """Changes columns of an endpoint's row, and returns the endpoint as it is then."""
    connection.execute(
        update(webhook_endpoints)
        .where(_ROW.id == one.id)
        .values(changed_at_ms=now_ms, version=_ROW.version + 1, **values)
    )
    subscriptions.changed(connection, one.tenant_id, one.mode)
    return find(connection, one.id)


def _columns(terms: Terms) -> dict[str, Any]:
    return {
        "url": terms.url,
        "description": terms.description,
        "events": None if terms.events is None else to_column(list(terms.events)),
        "vendor_links": terms.vendor_links,
    }


def _endpoint(row: Row[Any]) -> Endpoint:
    return Endpoint(
        id=row.id,
        tenant_id=row.tenant_id,
        mode=cast("Mode", row.mode),
        terms=Terms(
            url=row.url,
            description=row.description,
            events=None if row.events is None else tuple(from_column(row.events)),
            vendor_links=bool(row.vendor_links),
        ),
        state=EndpointState(row.state),
        state_reason=row.state_reason,
        state_since_ms=row.state_since_ms,
        signature=cast("Scheme", row.signature),
        secret=row.secret,
        previous_secret=row.previous_secret,
        previous_until_ms=row.previous_until_ms,
        failing_since_ms=row.failing_since_ms,
        created_at_ms=row.created_at_ms,
        changed_at_ms=row.changed_at_ms,
    )
