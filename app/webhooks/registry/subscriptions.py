"""Which endpoints of a tenant hear a message.

A tenant's row says in each mode whether it has endpoints: a number that is 0 where it has none, and another
one after every change of them. Whoever changes a request's state updates that row, and so reads the number
for nothing, behind a lock that whoever changes endpoints takes too: an endpoint hears exactly of what commits
after it was made.
"""

import secrets
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, select, update

from app.db.schema.tables import tenants, webhook_endpoints
from app.db.schema.webhook_states import EndpointState
from app.db.statements.prepared import Prepared
from app.kit.json import from_column
from app.webhooks.kinds import OF_ASSETS, OF_REQUESTS, Kind

_IS_SENT_TO: Final = frozenset({EndpointState.ENABLED, EndpointState.PAUSED})
_COLUMNS: Final = {"live": tenants.c.live_webhooks, "test": tenants.c.test_webhooks}
_OF: Final = Prepared(
    select(
        webhook_endpoints.c.id,
        webhook_endpoints.c.events,
        webhook_endpoints.c.vendor_links,
        webhook_endpoints.c.state,
    )
    .where(
        webhook_endpoints.c.tenant_id == bindparam("tenant"),
        webhook_endpoints.c.mode == bindparam("of_mode"),
        webhook_endpoints.c.deleted_at_ms.is_(None),
    )
    .order_by(webhook_endpoints.c.id)
)
_NUMBER: Final = {
    mode: Prepared(select(column).where(tenants.c.id == bindparam("tenant")))
    for mode, column in _COLUMNS.items()
}


@dataclass(frozen=True, slots=True)
class Subscription:
    """An endpoint that hears a message.

    `vendor_links` says whether it wants RunComfy's links. To one that is not `sent_to`, because it is
    disabled or gone, nothing is sent; that it would have heard of it is recorded, for a replay.
    """

    endpoint_id: str
    vendor_links: bool
    sent_to: bool


def hearing(
    connection: Connection,
    tenant_id: str,
    mode: str,
    kind: Kind,
    *,
    named: str | None = None,
    but: str | None = None,
    number: int | None = None,
) -> list[Subscription]:
    """Returns the endpoints of a tenant and mode that hear a message of this kind, in the order of their ids.

    `named` is the endpoint that a submit named, which hears every message of its request. `but` does not
    hear this one. With the `number` of the tenant's row, which the caller has locked, they are not read again
    while it is the same.
    """
    known = _known.get((tenant_id, mode)) if number is not None else None
    if known is None or known.number != number:
        rows = _OF.all(connection, {"tenant": tenant_id, "of_mode": mode})
        known = _Known(number, [_choice_of(*row) for row in rows])
        if number is not None:
            if len(_known) >= _MAX_KNOWN:
                _known.clear()
            _known[tenant_id, mode] = known
    of_request = kind in OF_REQUESTS or kind in OF_ASSETS
    return [
        one
        for one, kinds in known.choices
        if one.endpoint_id != but
        and ((of_request and one.endpoint_id == named) or kinds is None or kind in kinds)
    ]


_Choice = tuple[Subscription, frozenset[str] | None]


class _Known(NamedTuple):
    """The endpoints of a tenant and mode at a number of its row, with what each hears (None: all)."""

    number: int | None
    choices: list[_Choice]


# Threads that write at the same time have different tenants, or else the same rows.
_known: dict[tuple[str, str], _Known] = {}
_MAX_KNOWN: Final = 10_000


def _choice_of(endpoint_id: str, events: str | None, vendor_links: Any, state: str) -> _Choice:
    one = Subscription(endpoint_id, bool(vendor_links), state in _IS_SENT_TO)
    return one, None if events is None else frozenset(from_column(events))


def number_of(connection: Connection, tenant_id: str, mode: str) -> int:
    """Returns 0 where a tenant has no endpoints in a mode, and another number where it has."""
    found = _NUMBER[mode].one_or_none(connection, {"tenant": tenant_id})
    return 0 if found is None else int(found[0])


def changed(connection: Connection, tenant_id: str, mode: str) -> None:
    """Marks that a tenant's endpoints have changed. The caller locked the tenant's row before it did so."""
    has_any = _OF.all(connection, {"tenant": tenant_id, "of_mode": mode})
    number = 1 + secrets.randbits(62) if has_any else 0
    of_tenant = tenants.c.id == tenant_id
    connection.execute(update(tenants).where(of_tenant).values({_COLUMNS[mode]: number}))


def is_endpoint(connection: Connection, tenant_id: str, mode: str, endpoint_id: str) -> bool:
    """Returns whether a tenant has this endpoint in this mode, in whatever state it is."""
    rows: list[Any] = _OF.all(connection, {"tenant": tenant_id, "of_mode": mode})
    return any(row[0] == endpoint_id for row in rows)
