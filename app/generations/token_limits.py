"""What counts against client tokens and end users: tokens' usage, and end users' unfinished generations."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal_column, select

from app.auth.client_tokens import ClientToken
from app.db.schema.states import UNFINISHED
from app.db.schema.tables import generations
from app.generations.store import AMOUNT_SUMS, COUNTS_AS_LIVE, amounts_of, is_in, write_rows
from app.quotas.account import Owner
from app.quotas.amounts import NOTHING
from app.quotas.balances.ledger import Charge
from app.quotas.limits import Limit, Scope
from app.quotas.metrics import Metric
from app.quotas.standing import Usage

_OF_A_TOKEN: tuple[ColumnElement[Any], ...] = (
    generations.c.tenant_id == bindparam("tenant"),
    generations.c.mode == bindparam("of_mode"),
    literal_column("token_id IS NOT NULL"),
    generations.c.token_id == bindparam("of_token"),
)
_USED = (
    select(
        generations.c.charge,
        *AMOUNT_SUMS,
    )
    .where(
        *_OF_A_TOKEN,
        generations.c.charge.in_((Charge.HELD, Charge.SETTLED)),
    )
    .group_by(generations.c.charge)
)
_UNFINISHED = (
    select(generations.c.model_id, func.count())
    .where(
        generations.c.tenant_id == bindparam("tenant"),
        generations.c.mode == bindparam("of_mode"),
        literal_column("end_user IS NOT NULL"),
        generations.c.end_user == bindparam("of_end_user"),
        is_in(UNFINISHED),
        COUNTS_AS_LIVE,
    )
    .group_by(generations.c.model_id)
)
_NEWEST = (
    select(generations.c.id)
    .where(*_OF_A_TOKEN)
    .order_by(generations.c.created_at_ms.desc(), generations.c.id.desc())
    .limit(bindparam("most"))
)


def budget_of(token: ClientToken) -> tuple[Limit, ...]:
    """Returns the total budget of a client token as limits; none for an API key (None)."""
    scope = Scope(token_id=token.token_id)
    amounts = {
        Metric.GENERATIONS_TOTAL: token.max_generations,
        Metric.CREDITS_TOTAL: token.max_microcredits,
    }
    return tuple(Limit(scope, metric, amount) for metric, amount in amounts.items() if amount is not None)


def used(connection: Connection, owner: Owner, token_id: str) -> Usage:
    """Returns what a client token's generations hold and have spent; refunded ones do not count."""
    write_rows(connection)
    rows = connection.execute(_USED, _of(owner, token_id))
    sums = {charge: amounts_of(amounts) for charge, *amounts in rows}
    return Usage(held=sums.get(Charge.HELD, NOTHING), spent=sums.get(Charge.SETTLED, NOTHING))


def unfinished(
    connection: Connection, owner: Owner, end_user: str, *, unknown_since_ms: int
) -> dict[Scope, int]:
    """Returns how many of an end user's generations are unfinished, in all and per model.

    Queued generations count too; an unknown one counts only if it became so at or after `unknown_since_ms`.
    """
    write_rows(connection)
    rows = connection.execute(
        _UNFINISHED,
        {
            "tenant": owner.tenant_id,
            "of_mode": owner.mode,
            "of_end_user": end_user,
            "since_ms": unknown_since_ms,
        },
    )
    by_model = {Scope(model_id=model_id, end_user=end_user): int(count) for model_id, count in rows}
    return {**by_model, Scope(end_user=end_user): sum(by_model.values())}


def newest(connection: Connection, owner: Owner, token_id: str, *, limit: int) -> list[str]:
    """Returns the ids of at most `most` generations made with a client token, newest first."""
    return list(connection.scalars(_NEWEST, {**_of(owner, token_id), "most": limit}))


def _of(owner: Owner, token_id: str) -> dict[str, str]:
    return {"tenant": owner.tenant_id, "of_mode": owner.mode, "of_token": token_id}
