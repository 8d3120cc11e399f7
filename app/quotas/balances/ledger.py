"""The ledger: one entry for every change of a balance, never changed and never removed.

A generation has a hold from its start and, once it ends, one settle or one refund. An entry's amount is the
change of the balance: a settle's is 0, and the balance is the sum of all entries. Constraints of the table
refuse a second end of a hold, and triggers refuse to change or remove an entry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from app.db.schema.tables import ledger_entries, quota_limits
from app.db.statements.deferral import write_together
from app.db.statements.many import inserting_many
from app.db.statements.prepared import inserting
from app.errors import REFERENCE_CONFLICT, Problem
from app.quotas import account
from app.quotas.account import Ending, Owner
from app.quotas.amounts import Amounts
from app.quotas.limits import Limit, Payer, Scope
from app.quotas.metrics import Metric


class Charge(StrEnum):
    """What has become of a generation's price: it is held, settled (charged) or refunded."""

    HELD = "held"
    SETTLED = "settled"
    REFUNDED = "refunded"


class Kind(StrEnum):
    """What an entry of the ledger records."""

    HOLD = "hold"
    SETTLE = "settle"
    REFUND = "refund"
    TOP_UP = "top-up"
    ADJUSTMENT = "adjustment"


@dataclass(frozen=True, slots=True)
class Hold:
    """A generation's hold: the amounts, its price among them, and what they count against.

    `day` is the calendar day in the tenant's time zone on which it counts, such as `2026-11-24`.
    """

    generation_id: str
    owner: Owner
    payer: Payer
    model_id: str
    day: str
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the ledger. `microcredits` is the change of the balance.

    `about_id` is the generation whose price an adjustment corrects; the entries of a generation itself have
    its id in `generation_id`.
    """

    id: int
    owner: Owner
    kind: Kind
    generation_id: str | None
    scope: Scope
    microcredits: int
    at_ms: int
    note: str | None
    reference: str | None
    about_id: str | None = None


_OF_A_HOLD: Final = (
    "tenant_id",
    "mode",
    "kind",
    "generation_id",
    "kid",
    "model_id",
    "microcredits",
    "at_ms",
)
_HOLD: Final = Kind.HOLD.value
_INSERT = inserting(ledger_entries, *_OF_A_HOLD, "note", "reference", "about_id")


def hold(connection: Connection, owner: Owner, generation_id: str, microcredits: int, *, now_ms: int) -> None:
    """Enters the hold on a generation's price. The caller counts it in the usage, in this transaction."""
    row = (owner.tenant_id, owner.mode, _HOLD, generation_id, "", "", -microcredits, now_ms)
    write_together(connection, _write_holds, row)


def _write_holds(connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    inserting_many(ledger_entries, *_OF_A_HOLD).run(connection, rows)


def end(connection: Connection, held: Hold, *, spent: bool, ending: Ending) -> Charge:
    """Ends a hold in the ledger and in every row of usage: settles it where `spent`, else refunds it.

    Returns what has become of the price.
    """
    kind, change = (Kind.SETTLE, 0) if spent else (Kind.REFUND, held.amounts.microcredits)
    _append(connection, held.owner, kind, change, ending.at_ms, generation_id=held.generation_id)
    account.end_hold(
        connection,
        held.owner,
        payer=held.payer,
        model_id=held.model_id,
        day=held.day,
        amounts=held.amounts,
        spent=spent,
        ending=ending,
    )
    return Charge.SETTLED if spent else Charge.REFUNDED


def add(
    connection: Connection,
    owner: Owner,
    scope: Scope,
    kind: Kind,
    microcredits: int,
    *,
    now_ms: int,
    defaults: Sequence[Limit] = (),
    note: str | None = None,
    reference: str | None = None,
) -> bool:
    """Enters a top-up or an adjustment of a balance; returns whether the entry is new.

    Nothing is entered, and False returned, where the owner has an entry of this kind with this reference
    already: a payment that is entered twice counts once.

    A top-up of a balance without a limit on `credits-total` makes it prepaid: it sets that limit to the
    amount in `defaults`, or to 0, so that a top-up never takes a default credit line away.

    Raises:
        Problem: REFERENCE_CONFLICT, the entry with this reference has another account or amount.

    """
    zone = account.lock_tenant(connection, owner.tenant_id)
    if reference is not None:
        there = _by_reference(connection, owner, kind, reference)
        if there is not None:
            if (there.scope, there.microcredits) != (scope, microcredits):
                detail = f"reference {reference!r} belongs to another entry (number {there.id})."
                raise Problem(REFERENCE_CONFLICT, detail)
            return False
    if kind is Kind.TOP_UP and not _is_prepaid(connection, owner, scope):
        line = Limit(scope, Metric.CREDITS_TOTAL, _default_line(scope, defaults))
        account.put_limit(connection, owner, line, now_ms=now_ms)
    _append(connection, owner, kind, microcredits, now_ms, scope=scope, note=note, reference=reference)
    is_payment = kind is Kind.TOP_UP
    account.add_credits(
        connection, owner, scope, microcredits, zone=zone, now_ms=now_ms, is_payment=is_payment
    )
    return True


def correct(
    connection: Connection,
    settled: Hold,
    *,
    from_microcredits: int,
    to_microcredits: int,
    outcome: str,
    note: str,
    now_ms: int,
) -> None:
    """Enters the correction of a price that was settled, as an adjustment about its generation.

    What was spent changes in every row of usage that the generation counts in, so no balance is changed
    besides: `credits-total` of the tenant, of its key and of its end user all become what they had been with
    the right price. The adjustment's reference names the generation, with a number: a price may be corrected
    again.
    """
    zone = account.lock_tenant(connection, settled.owner.tenant_id)
    about = ledger_entries.c.about_id == settled.generation_id
    number = connection.scalar(select(func.count()).select_from(ledger_entries).where(about)) or 0
    more_microcredits = to_microcredits - from_microcredits
    _append(
        connection,
        settled.owner,
        Kind.ADJUSTMENT,
        -more_microcredits,
        now_ms,
        note=note,
        reference=f"reprice:{settled.generation_id}:{number + 1}",
        about_id=settled.generation_id,
    )
    account.correct_price(
        connection,
        settled.owner,
        payer=settled.payer,
        model_id=settled.model_id,
        day=settled.day,
        more_microcredits=more_microcredits,
        outcome=outcome,
        zone=zone,
        now_ms=now_ms,
    )


def entries(
    connection: Connection,
    *,
    tenant_id: str | None = None,
    generation_id: str | None = None,
    before: int | None = None,
    limit: int,
) -> Sequence[Entry]:
    """Returns up to `limit` entries, newest first, with lower numbers than `before`.

    What is None does not filter.
    """
    query = select(ledger_entries).order_by(ledger_entries.c.id.desc()).limit(limit)
    if tenant_id is not None:
        query = query.where(ledger_entries.c.tenant_id == tenant_id)
    if generation_id is not None:
        query = query.where(ledger_entries.c.generation_id == generation_id)
    if before is not None:
        query = query.where(ledger_entries.c.id < before)
    return [_entry(row) for row in connection.execute(query)]


def _by_reference(connection: Connection, owner: Owner, kind: Kind, reference: str) -> Entry | None:
    row = connection.execute(
        select(ledger_entries).where(
            ledger_entries.c.tenant_id == owner.tenant_id,
            ledger_entries.c.mode == owner.mode,
            ledger_entries.c.kind == kind,
            ledger_entries.c.reference == reference,
        )
    ).one_or_none()
    return None if row is None else _entry(row)


def _is_prepaid(connection: Connection, owner: Owner, scope: Scope) -> bool:
    query = select(quota_limits.c.amount).where(
        quota_limits.c.tenant_id == owner.tenant_id,
        quota_limits.c.mode == owner.mode,
        quota_limits.c.kid == scope.kid,
        quota_limits.c.model_id == scope.model_id,
        quota_limits.c.end_user == scope.end_user,
        quota_limits.c.metric == Metric.CREDITS_TOTAL,
    )
    return connection.execute(query).scalar_one_or_none() is not None


def _default_line(scope: Scope, defaults: Sequence[Limit]) -> int:
    for one in defaults:
        if (one.scope, one.metric) == (scope, Metric.CREDITS_TOTAL):
            return one.amount or 0
    return 0


def _append(
    connection: Connection,
    owner: Owner,
    kind: Kind,
    microcredits: int,
    now_ms: int,
    *,
    generation_id: str | None = None,
    scope: Scope = Scope(),  # noqa: B008 - a constant
    note: str | None = None,
    reference: str | None = None,
    about_id: str | None = None,
) -> None:
    _INSERT.run(
        connection,
        {
            "tenant_id": owner.tenant_id,
            "mode": owner.mode,
            "kind": kind,
            "generation_id": generation_id,
            "kid": scope.kid,
            "model_id": scope.model_id,
            "microcredits": microcredits,
            "at_ms": now_ms,
            "note": note,
            "reference": reference,
            "about_id": about_id,
        },
    )


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        row.id,
        Owner(row.tenant_id, row.mode),
        Kind(row.kind),
        row.generation_id,
        Scope(row.kid, row.model_id),
        row.microcredits,
        row.at_ms,
        row.note,
        row.reference,
        row.about_id,
    )
