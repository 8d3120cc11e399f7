"""Statements: closing months that have ended, listing and reading them, and verifying them from the ledger.

Months are closed when somebody asks for statements, and by a loop. Closing one changes nothing that a caller
could see before: its entries are as they were entered, and stay so.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Final, get_args

from sqlalchemy import Connection, select

from app.admin import accounts, audit
from app.admin.accounts import AccountName
from app.admin.actor import Actor
from app.admin.audit import Change
from app.admin.paging import MAX_PAGE, Page, PageSize, cursor_of, page_of, place_in
from app.admin.session import AdminGateway
from app.auth import tenants as tenant_rows
from app.auth.keys import Mode
from app.db.schema.tables import tenants
from app.documents.amounts import statements as documents
from app.errors import REQUEST_ARCHIVED, STATEMENT_NOT_FOUND, Problem
from app.quotas.account import Owner
from app.quotas.balances import entries, statements
from app.quotas.balances.entries import Line, Span
from app.quotas.balances.ledger import Kind
from app.quotas.balances.statements import Draft, Statement
from app.webhooks import kinds
from app.webhooks.messages import bodies, outbox
from app.webhooks.messages.outbox import Bodies, Message
from app.webhooks.registry import subscriptions

_BATCH: Final = 1_000
_MODES: Final[tuple[Mode, ...]] = get_args(Mode)


@dataclass(frozen=True, slots=True)
class Difference:
    """What is wrong with a statement: the month of an account, and how it differs from the ledger."""

    tenant_id: str
    mode: str
    month: str
    detail: str


async def close_due(gateway: AdminGateway, owner: Owner) -> int:
    """Closes every month of an account that has ended, and returns how many it closed."""
    closed = 0
    now_ms = gateway.clock.now_ms()
    while True:
        draft = await gateway.db.write(statements.next_draft, owner, now_ms=now_ms)
        if draft is None:
            return closed
        # Without the lock: the entries that the draft names cannot change, however many they are.
        statement = await gateway.db.snapshot(partial(_drawn_up, draft=draft, now_ms=now_ms))
        closed += await gateway.db.write(_close, statement)


def _close(connection: Connection, statement: Statement) -> bool:
    """Stores a statement, and writes the message that its month is closed."""
    owner = statement.owner
    if not statements.close(connection, statement):
        return False
    if subscriptions.number_of(connection, owner.tenant_id, owner.mode):
        data = bodies.statement_closed(
            mode=owner.mode,
            month=statement.month,
            entries=statement.entries,
            opening_microcredits=statement.opening_microcredits,
            closing_microcredits=statement.closing_microcredits,
        )
        message = Message(
            id=outbox.message_id("statement", owner.tenant_id, owner.mode, statement.month),
            tenant_id=owner.tenant_id,
            mode=owner.mode,
            kind=kinds.Kind.STATEMENT_CLOSED,
            at_ms=statement.closed_at_ms,
        )
        body = bodies.body(kinds.Kind.STATEMENT_CLOSED, data, at_ms=statement.closed_at_ms)
        outbox.tell(connection, message, lambda _: Bodies(body))
    return True


async def close_all(gateway: AdminGateway, *, tenant_id: str | None = None) -> int:
    """Closes every month of one tenant, or of all, that has ended; returns how many it closed."""
    found = await gateway.db.read(_tenant_ids, tenant_id)
    return sum([await close_due(gateway, Owner(one, mode)) for one in found for mode in _MODES])


async def listed(
    gateway: AdminGateway, owner: Owner, *, before: str = "9999-99", limit: int
) -> Sequence[Statement]:
    """Returns at most `limit` statements of an account, those before a month, the newest first."""
    await close_due(gateway, owner)
    return await gateway.db.read(statements.listed, owner, before=before, limit=limit)


async def find(gateway: AdminGateway, owner: Owner, month: str) -> Statement:
    """Returns the statement of a month, such as `2026-11`.

    Raises:
        Problem: STATEMENT_NOT_FOUND.

    """
    found = await gateway.db.read(statements.find, owner, month)
    if found is None:
        await close_due(gateway, owner)
        found = await gateway.db.read(statements.find, owner, month)
    if found is None:
        raise Problem(STATEMENT_NOT_FOUND, f"There is no statement of {month[:20]!r} (yet).")
    return found


async def csv_of(gateway: AdminGateway, one: Statement) -> AsyncIterator[bytes]:
    """Yields a statement as CSV, a page of its entries at a time: what it has does not change."""
    after, balance = None, one.opening_microcredits
    yield documents.csv_head(one).encode()
    while found := await gateway.db.read(entries.page, one.owner, span=one.span, after=after, limit=_BATCH):
        yield documents.csv_body(found, balance).encode()
        balance += sum(line.microcredits for line in found)
        after = found[-1].place
    yield documents.csv_foot(one, balance).encode()


async def pdf_of(gateway: AdminGateway, one: Statement) -> AsyncIterator[bytes]:
    """Yields a statement as PDF, in one piece."""
    from app.documents.amounts.statement_pdf import MAX_LINES, statement_pdf  # noqa: PLC0415 - few ask for it

    def read(connection: Connection) -> bytes:
        name = tenant_rows.name_of(connection, one.owner.tenant_id)
        lines = islice(chain.from_iterable(entries.pages(connection, one.owner, one.span)), MAX_LINES)
        return statement_pdf(name, one, lines)

    yield await gateway.db.read(read)


@dataclass(frozen=True, slots=True)
class OfTenant:
    """A statement with the name of its tenant."""

    tenant: str
    statement: Statement


@dataclass(frozen=True, slots=True)
class Shown:
    """A statement with a page of its entries."""

    tenant: str
    statement: Statement
    entries: Page[Line]


@dataclass(frozen=True, slots=True)
class Verified:
    """The number of statements, the differences, and the names of the tenants by their ids."""

    statements: int
    differences: Sequence[Difference]
    tenants: Mapping[str, str]


async def of_account(
    gateway: AdminGateway,
    *,
    tenant: str,
    test: bool = False,
    limit: PageSize = MAX_PAGE,
    cursor: str | None = None,
) -> Page[OfTenant]:
    """Returns the closed months of a tenant's live or test keys, the newest first, in pages.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_PARAMETER.

    """
    (before,) = ("9999-99",) if cursor is None else place_in(cursor, str)
    account = await accounts.find(gateway, AccountName(tenant=tenant, test=test), served=False)
    found = await listed(gateway, account.owner, before=before, limit=limit + 1)
    page = page_of(found, limit, lambda one: cursor_of(one.month))
    return Page([OfTenant(tenant, one) for one in page.entries], page.next_cursor)


async def show(
    gateway: AdminGateway,
    month: str,
    *,
    tenant: str,
    test: bool = False,
    limit: PageSize = MAX_PAGE,
    cursor: str | None = None,
) -> Shown:
    """Returns a closed month with its entries, the oldest first, in pages.

    Raises:
        Problem: TENANT_NOT_FOUND, STATEMENT_NOT_FOUND, INVALID_PARAMETER, REQUEST_ARCHIVED.

    """
    after = None if cursor is None else place_in(cursor, int, int)
    account = await accounts.find(gateway, AccountName(tenant=tenant, test=test), served=False)
    one = await find(gateway, account.owner, month)
    await check_entries(gateway, one)
    lines = await gateway.db.read(entries.page, one.owner, span=one.span, after=after, limit=limit + 1)
    return Shown(tenant, one, page_of(lines, limit, lambda line: cursor_of(*line.place)))


async def close(
    gateway: AdminGateway, actor: Actor, *, tenant: str | None = None, reason: str | None = None
) -> int:
    """Closes every month that has ended, of one tenant or of all, and returns how many had not been closed.

    Raises:
        Problem: TENANT_NOT_FOUND, INVALID_REASON.

    """
    tenant_id = await accounts.tenant_id_of(gateway, tenant)
    now_ms = gateway.clock.now_ms()

    def record(connection: Connection) -> tuple[int, Change]:
        found = _tenant_ids(connection, tenant_id)
        number = sum(
            statements.number_due(connection, Owner(one, mode), now_ms=now_ms)
            for one in found
            for mode in _MODES
        )
        return number, Change(
            action="statements.close",
            subject_kind="statements",
            subject_id=tenant or "all",
            tenant_id=tenant_id,
            before=None,
            after={"months": number},
        )

    # What is due is written down first: closing it has a transaction for each month, so that no submit waits
    # for all of them, and is done again by whoever asks next, where this process ends before it is through.
    number = await audit.write(gateway, actor, reason, record)
    await close_all(gateway, tenant_id=tenant_id)
    return number


async def verify(gateway: AdminGateway, *, tenant: str | None = None) -> Verified:
    """Recomputes every statement of one tenant, or of all, from the ledger; returns every difference.

    Raises:
        Problem: TENANT_NOT_FOUND.

    """
    tenant_id = await accounts.tenant_id_of(gateway, tenant)

    def check(connection: Connection) -> tuple[int, list[Difference]]:
        found = [one for one in statements.every(connection) if tenant_id in {None, one.owner.tenant_id}]
        return len(found), list(_differences(connection, found))

    number, differences = await gateway.db.snapshot(check)
    return Verified(number, differences, await accounts.tenant_names(gateway))


def _tenant_ids(connection: Connection, tenant_id: str | None) -> list[str]:
    query = (
        select(tenants.c.id) if tenant_id is None else select(tenants.c.id).where(tenants.c.id == tenant_id)
    )
    return list(connection.scalars(query.order_by(tenants.c.id)))


def _drawn_up(connection: Connection, draft: Draft, *, now_ms: int) -> Statement:
    sums = entries.sums(connection, draft.owner, draft.span)
    gone = statements.archived(connection, draft.owner, from_month=draft.month, until_month=draft.month)
    sums = {kind: (sums[kind][0] + gone[kind][0], sums[kind][1] + gone[kind][1]) for kind in Kind}
    return Statement(
        **{name: getattr(draft, name) for name in Draft.__dataclass_fields__},
        entries=sum(number for number, _ in sums.values()),
        held_microcredits=-sums[Kind.HOLD][1],
        refunded_microcredits=sums[Kind.REFUND][1],
        added_microcredits=sums[Kind.TOP_UP][1],
        adjusted_microcredits=sums[Kind.ADJUSTMENT][1],
        closing_microcredits=draft.opening_microcredits + sum(change for _, change in sums.values()),
        csv_sha256=_csv_sha256(connection, draft, is_whole=not any(number for number, _ in gone.values())),
        closed_at_ms=now_ms,
    )


def _csv_sha256(connection: Connection, draft: Draft, *, is_whole: bool) -> str:
    """Returns the hash of a statement as CSV; where entries were archived, the hash that was stored."""
    if isinstance(draft, Statement) and not is_whole:
        return draft.csv_sha256
    return documents.csv_sha256(draft, entries.pages(connection, draft.owner, draft.span))


async def check_entries(gateway: AdminGateway, one: Statement) -> None:
    """Checks that a statement's entries are here.

    Raises:
        Problem: REQUEST_ARCHIVED, some of them were archived. Its sums stay.

    """
    gone = await gateway.db.read(statements.archived, one.owner, from_month=one.month, until_month=one.month)
    if any(number for number, _ in gone.values()):
        raise Problem(
            REQUEST_ARCHIVED,
            f"Entries of {one.month} were archived with their requests; the statement's sums and hash stay.",
        )


_SUMS: Final = (
    "entries",
    "held_microcredits",
    "refunded_microcredits",
    "added_microcredits",
    "adjusted_microcredits",
    "closing_microcredits",
    "csv_sha256",
)


def _differences(connection: Connection, found: Sequence[Statement]) -> Iterator[Difference]:
    before: Statement | None = None
    for one in found:
        drawn = _drawn_up(connection, one, now_ms=one.closed_at_ms)
        wrong = [
            f"{name} is {getattr(one, name)}, the ledger says {getattr(drawn, name)}"
            for name in _SUMS
            if getattr(one, name) != getattr(drawn, name)
        ]
        earlier = before if before is not None and before.owner == one.owner else None
        wrong += _breaks(earlier, one)
        wrong += _left_out(connection, one)
        if wrong:
            yield Difference(one.owner.tenant_id, one.owner.mode, one.month, "; ".join(wrong))
        before = one


def _breaks(earlier: Statement | None, one: Statement) -> Iterator[str]:
    """Yields where a statement does not begin as the one before it ended."""
    opening = 0 if earlier is None else earlier.closing_microcredits
    if one.opening_microcredits != opening:
        yield f"opening_microcredits is {one.opening_microcredits}, the month before closed with {opening}"
    if earlier is not None and (one.from_ms, one.earlier_id) != (earlier.until_ms, earlier.last_id):
        yield "it does not begin where the month before ended"


def _left_out(connection: Connection, one: Statement) -> Iterator[str]:
    """Yields where an entry up to a statement's end is in none, as one entered for a past month."""
    sums = entries.sums(connection, one.owner, Span(until_ms=one.until_ms, last_id=one.last_id))
    gone = statements.archived(connection, one.owner, until_month=one.month)
    balance = sum(change for _, change in (*sums.values(), *gone.values()))
    if balance != one.closing_microcredits:
        yield f"closing_microcredits is {one.closing_microcredits}, all entries until then are {balance}"
