"""How many bytes of files are kept: of a tenant in a mode, and of each of its keys and end users.

The sums stand in rows of their own, which change in the transaction of what they count, under the lock on the
tenant's row: so a limit on stored bytes is exact on any number of servers.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from app.db.schema.tables import stored_bytes
from app.db.statements.upsert import insert_of
from app.quotas.account import Owner, open_account
from app.quotas.limits import Limit, Payer, Scope
from app.quotas.metrics import Metric
from app.quotas.problem import refusal
from app.quotas.standing import Standing, stored_standing


def hold(
    connection: Connection,
    owner: Owner,
    payer: Payer,
    size_bytes: int,
    *,
    defaults: Sequence[Limit],
    more: Sequence[Standing] = (),
    now_ms: int,
) -> None:
    """Counts a file's bytes, if they fit into every limit; locks the tenant's row.

    `more` are standings that they must fit into besides, such as that of a client token's budget.

    Raises:
        QuotaProblem: they do not fit.

    """
    standings = [*_standings(connection, owner, payer, size_bytes, defaults, now_ms=now_ms), *more]
    if against := [one for one in standings if not one.fits]:
        raise refusal(standings, against)
    _add(connection, owner, payer, size_bytes)


def give_back(connection: Connection, owner: Owner, payer: Payer, size_bytes: int) -> None:
    """Counts a file's bytes no more. The caller holds the lock on the tenant's row."""
    _add(connection, owner, payer, -size_bytes)


def used(connection: Connection, owner: Owner, payer: Payer) -> dict[Scope, int]:
    """Returns the bytes that are kept in each of a payer's scopes."""
    rows = connection.execute(
        select(stored_bytes.c.kid, stored_bytes.c.end_user, stored_bytes.c.bytes).where(
            stored_bytes.c.tenant_id == owner.tenant_id,
            stored_bytes.c.mode == owner.mode,
            stored_bytes.c.kid.in_(["", payer.kid]),
            stored_bytes.c.end_user.in_(["", payer.end_user]),
        )
    )
    return {Scope(kid=kid, end_user=end_user): size for kid, end_user, size in rows}


def counted_in(payer: Payer) -> list[tuple[str, str]]:
    """Returns the sums that a payer's bytes count in: each of a key, of an end user, or of all."""
    return [("", ""), (payer.kid, ""), *([("", payer.end_user)] if payer.end_user else [])]


def _standings(
    connection: Connection,
    owner: Owner,
    payer: Payer,
    wanted: int,
    defaults: Sequence[Limit],
    *,
    now_ms: int,
) -> list[Standing]:
    opened = open_account(connection, owner, payer, "", defaults=defaults, now_ms=now_ms, for_update=True)
    stored = used(connection, owner, payer)
    return [
        stored_standing(one, stored.get(one.scope, 0), wanted)
        for one in opened.limits
        if one.metric is Metric.STORED_BYTES and one.amount is not None
    ]


def _add(connection: Connection, owner: Owner, payer: Payer, size_bytes: int) -> None:
    for kid, end_user in counted_in(payer):
        place = {"tenant_id": owner.tenant_id, "mode": owner.mode, "kid": kid, "end_user": end_user}
        statement = insert_of(connection, stored_bytes).values(**place, bytes=size_bytes)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(place), set_={"bytes": stored_bytes.c.bytes + size_bytes}
            )
        )
