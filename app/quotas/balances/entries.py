"""Reading a tenant's entries of the ledger, in pages: with the model, key and end user that they are about.

An index has the entries of each kind in order of time. A page of several kinds takes the first of each.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, func, literal_column, select, tuple_, union_all

from app.db.schema.tables import generations, ledger_entries
from app.quotas.account import Owner
from app.quotas.balances.ledger import Kind

_BATCH: Final = 1_000
# How long after its time an entry may be committed: far longer than any transaction waits.
_LATE_MS: Final = 7 * 86_400_000
Place = tuple[int, int]
"""The place of an entry in the order of pages: its time in milliseconds, then its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An entry, with what it is about.

    `request_id` is the request that it belongs to, or whose price it corrects; `model_id`, `kid` and
    `end_user` are that request's, or say which balance was changed. Empty texts stand for none, or all.
    `microcredits` is the change of the balance.
    """

    id: int
    at_ms: int
    kind: Kind
    microcredits: int
    request_id: str | None
    model_id: str
    kid: str
    end_user: str
    reference: str | None
    note: str | None

    @property
    def place(self) -> Place:
        """Its place in the order of pages."""
        return self.at_ms, self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which entries: those entered from `from_ms` on, and before `until_ms`; None is no bound.

    A statement takes all that were entered before `until_ms` as far as the number `last_id`, but for those
    that the statement before it took: before `from_ms`, as far as `earlier_id`.
    """

    from_ms: int | None = None
    until_ms: int | None = None
    last_id: int | None = None
    earlier_id: int | None = None


_ABOUT = func.coalesce(ledger_entries.c.generation_id, ledger_entries.c.about_id)


def page(
    connection: Connection,
    owner: Owner,
    *,
    span: Span,
    kinds: Collection[Kind] = tuple(Kind),
    after: Place | None = None,
    newest_first: bool = False,
    limit: int,
) -> list[Line]:
    """Returns at most `limit` entries of an account, those after a place, if one is given."""
    columns = (ledger_entries.c.at_ms, ledger_entries.c.id)
    order = [one.desc() if newest_first else one for one in columns]
    parts = []
    for kind, rest in product(sorted(kinds), _ranges(span, after, newest_first=newest_first)):
        query = _of(owner, rest, kind, ledger_entries.c.id, ledger_entries.c.at_ms)
        if after is not None:
            place, there = tuple_(*columns), tuple_(*after)
            query = query.where(place < there if newest_first else place > there)
        parts.append(select(query.order_by(*order).limit(limit).subquery("of_kind")))
    if not parts:
        return []
    found_keys = union_all(*parts).subquery("of_kinds")
    of_keys = (found_keys.c.at_ms, found_keys.c.id)
    in_order = [one.desc() if newest_first else one for one in of_keys]
    # The rows themselves are read for those of the page alone.
    found = select(found_keys.c.id).order_by(*in_order).limit(limit).subquery("step")
    query = (
        select(
            ledger_entries,
            _ABOUT.label("request_id"),
            generations.c.model_id.label("of_model"),
            func.coalesce(generations.c.root_kid, generations.c.kid).label("of_kid"),
            generations.c.end_user,
        )
        .select_from(
            found.join(ledger_entries, ledger_entries.c.id == found.c.id).outerjoin(
                generations, generations.c.id == _ABOUT
            )
        )
        .order_by(*order)
    )
    return [_line(row) for row in connection.execute(query)]


def pages(connection: Connection, owner: Owner, span: Span) -> Iterator[list[Line]]:
    """Yields all entries of a span, the oldest first, a page at a time."""
    after: Place | None = None
    while found := page(connection, owner, span=span, after=after, limit=_BATCH):
        yield found
        after = found[-1].place


def of_request(connection: Connection, owner: Owner, request_id: str) -> list[Line]:
    """Returns the entries of one request, the oldest first; those that correct its price are among them."""
    # Two searches, each of which one index fits: for an `or` of both SQLite reads all entries of the tenant.
    ids = union_all(
        *(
            select(ledger_entries.c.id).where(column == request_id)
            for column in (ledger_entries.c.generation_id, ledger_entries.c.about_id)
        )
    )
    query = (
        select(
            ledger_entries,
            _ABOUT.label("request_id"),
            generations.c.model_id.label("of_model"),
            func.coalesce(generations.c.root_kid, generations.c.kid).label("of_kid"),
            generations.c.end_user,
        )
        .select_from(ledger_entries.join(generations, generations.c.id == _ABOUT))
        .where(
            ledger_entries.c.id.in_(ids),
            ledger_entries.c.tenant_id == owner.tenant_id,
            ledger_entries.c.mode == owner.mode,
        )
        .order_by(ledger_entries.c.at_ms, ledger_entries.c.id)
    )
    return [_line(row) for row in connection.execute(query)]


def sums(connection: Connection, owner: Owner, span: Span) -> dict[Kind, tuple[int, int]]:
    """Returns the number of entries and the sum of the changes of the balance, by kind."""
    found = {}
    for kind in Kind:
        columns = (func.count(), func.coalesce(func.sum(ledger_entries.c.microcredits), 0))
        rows = [connection.execute(_of(owner, one, kind, *columns)).one() for one in _ranges(span)]
        found[kind] = (sum(int(row[0]) for row in rows), sum(int(row[1]) for row in rows))
    return found


def last_id(connection: Connection, owner: Owner) -> int:
    """Returns the number of a tenant's last entry, 0 where there is none.

    Under the lock on the tenant's row no entry with a lower number is still to be committed.
    """
    query = select(func.max(ledger_entries.c.id)).where(ledger_entries.c.tenant_id == owner.tenant_id)
    return connection.scalar(query) or 0


def first_at_ms(connection: Connection, owner: Owner) -> int | None:
    """Returns when an account's first entry was entered; None where there is none."""
    found = page(connection, owner, span=Span(), limit=1)
    return found[0].at_ms if found else None


def _ranges(span: Span, after: Place | None = None, *, newest_first: bool = False) -> list[Span]:
    """Returns a span as ranges of time that an index has, without what lies before a place.

    A statement's entries are those of its own time, and those of the time before that were late. Both have
    bounds of their own: else each page would read all entries from the beginning on.
    """
    parts = [span]
    if span.from_ms is not None and span.earlier_id is not None:
        late = replace(span, from_ms=span.from_ms - _LATE_MS, until_ms=span.from_ms)
        parts = [late, replace(span, earlier_id=None)]
    if after is None:
        return parts
    found = []
    for one in parts:
        from_ms, until_ms = one.from_ms, one.until_ms
        if newest_first:
            until_ms = after[0] + 1 if until_ms is None else min(until_ms, after[0] + 1)
        else:
            from_ms = after[0] if from_ms is None else max(from_ms, after[0])
        if from_ms is None or until_ms is None or from_ms < until_ms:
            found.append(replace(one, from_ms=from_ms, until_ms=until_ms))
    return found


def _of(owner: Owner, part: Span, kind: Kind, *columns: ColumnElement[Any]) -> Select[Any]:
    """Returns the query of one kind of a range of time."""
    entry = ledger_entries.c
    query = select(*columns).where(
        entry.tenant_id == owner.tenant_id, entry.mode == owner.mode, entry.kind == kind
    )
    if part.from_ms is not None:
        query = query.where(entry.at_ms >= part.from_ms)
    if part.until_ms is not None:
        query = query.where(entry.at_ms < part.until_ms)
    # A sum, so that no planner takes the number for a bound: PostgreSQL 18 would then believe that the index
    # of times is searched once for each time, and read all entries of the tenant by another one.
    number = entry.id + literal_column("0")
    if part.last_id is not None:
        query = query.where(number <= part.last_id)
    if part.earlier_id is not None:
        query = query.where(number > part.earlier_id)
    return query


def _line(row: Row[Any]) -> Line:
    return Line(
        id=row.id,
        at_ms=row.at_ms,
        kind=Kind(row.kind),
        microcredits=row.microcredits,
        request_id=row.request_id,
        model_id=row.of_model or row.model_id,
        kid=row.of_kid or row.kid,
        end_user=row.end_user or "",
        reference=row.reference,
        note=row.note,
    )
