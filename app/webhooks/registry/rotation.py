"""New secrets for endpoints: by their owners, and sealed anew under another key of the operator's."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, or_, select, update

from app.db.schema.tables import webhook_endpoints
from app.errors import ROTATION_OPEN, Problem
from app.kit.clock import iso
from app.webhooks.registry import secrets
from app.webhooks.registry.endpoints import Endpoint, changed

MAX_GRACE_S: Final = 7 * 86_400
DEFAULT_GRACE_S: Final = 86_400
_ROW: Final = webhook_endpoints.c


def rotate(
    connection: Connection,
    one: Endpoint,
    secret: bytes,
    *,
    keys: Sequence[str],
    grace_ms: int,
    force: bool,
    now_ms: int,
) -> Endpoint:
    """Gives an endpoint a new secret; for `grace_ms`, messages are signed with the old one too.

    Raises:
        Problem: ROTATION_OPEN: the secret before is still in use, and it was not `force`d.

    """
    ends_at_ms = one.rotation_ends_at_ms(now_ms)
    if ends_at_ms is not None and not force:
        detail = f"Messages are signed with the previous secret too until {iso(ends_at_ms)}."
        raise Problem(ROTATION_OPEN, detail)
    return changed(
        connection,
        one,
        now_ms=now_ms,
        secret=secrets.seal(secret, keys, bound_to=one.id),
        previous_secret=one.secret if grace_ms else None,
        previous_until_ms=now_ms + grace_ms if grace_ms else None,
    )


def revoke_previous(connection: Connection, one: Endpoint, *, now_ms: int) -> Endpoint:
    """Signs with an endpoint's present secret alone from now on. Repeating it is harmless."""
    if one.previous_secret is None:
        return one
    return changed(connection, one, now_ms=now_ms, previous_secret=None, previous_until_ms=None)


@dataclass(frozen=True, slots=True)
class Resealed:
    """How many endpoints' secrets were sealed anew, and the ids of those whose secret nobody can open.

    `last` is the id of the last one that was looked at; None: there are no more.
    """

    resealed: int
    unreadable: tuple[str, ...]
    last: str | None


def reseal(connection: Connection, keys: Sequence[str], *, after: str, limit: int) -> Resealed:
    """Seals secrets that are sealed with another key with the first one, of endpoints with ids after `after`.

    A secret that none of the keys opens stays as it is.
    """
    stale = or_(
        *(~column.startswith(secrets.prefix_of(keys)) for column in (_ROW.secret, _ROW.previous_secret))
    )
    query = (
        select(_ROW.id, _ROW.secret, _ROW.previous_secret)
        .where(_ROW.id > after, _ROW.secret != "", stale)
        .order_by(_ROW.id)
        .limit(limit)
        .with_for_update()
    )
    rows = connection.execute(query).all()
    unreadable = []
    for row in rows:
        try:
            fresh = {
                name: secrets.seal(secrets.open(text, keys, bound_to=row.id), keys, bound_to=row.id)
                for name, text in (("secret", row.secret), ("previous_secret", row.previous_secret))
                if text
            }
        except secrets.Unreadable:
            unreadable.append(row.id)
            continue
        connection.execute(update(webhook_endpoints).where(_ROW.id == row.id).values(**fresh))
    last = rows[-1].id if len(rows) == limit else None
    return Resealed(len(rows) - len(unreadable), tuple(unreadable), last)


def public_keys(one: Endpoint, keys: Sequence[str], now_ms: int) -> list[str]:
    """Returns the public keys of an endpoint whose messages are signed by Ed25519, the present one first.

    Those whose secret cannot be opened are left out.
    """
    if one.signature != "v1a":
        return []
    previous = one.previous_secret if one.rotation_ends_at_ms(now_ms) is not None else None
    found = []
    for sealed in (one.secret, previous):
        if sealed:
            with suppress(secrets.Unreadable):
                found.append(secrets.shown(secrets.open(sealed, keys, bound_to=one.id), "v1a"))
    return found
