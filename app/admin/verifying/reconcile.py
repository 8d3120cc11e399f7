"""Comparing RunComfy's bill with the books.

Every line of the bill must be one of our live requests, and every live request that was charged must be a
line.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from typing import Final, TextIO

from sqlalchemy import Connection, func, select

from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.db.schema.tables import generations
from app.errors import INVALID_BILL, FieldError, Problem
from app.kit.text import printable, quoted
from app.quotas.amounts import credits_text
from app.quotas.balances.ledger import Charge

MAX_BILL_BYTES: Final = 2**24
"""The most bytes of a bill over HTTP: some 300,000 lines."""
MAX_DIFFERENCES: Final = 10_000
"""The most differences that are named; all are counted."""
_MAX_ERRORS: Final = 20
_MAX_SHOWN: Final = 200
_TOO_MANY: Final = "more fields than its header"
_BATCH: Final = 500
_DAY_MS: Final = 86_400_000
_MAX_USD: Final = 10**9  # of a line: more is another column
# Decimal itself takes 1_000 and NaN, and what has a comma in it can be read in two ways.
_COST: Final = re.compile(r"\+?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]{1,2})?")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the bill: the provider's id of a job and what it costs in US dollars."""

    number: int
    upstream_request_id: str
    cost_usd: Decimal


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """A difference of bill and books. `rule` is one of RULES, `subject` our request id or the provider's."""

    rule: str
    subject: str
    detail: str


RULES: Final = {
    "billed-and-not-ours": "no request has this id; it may belong to a request of unknown outcome",
    "billed-twice": "the bill has more than one line for it",
    "billed-and-a-test-request": "the id belongs to a request of an rg_test_ key, unknown to RunComfy",
    "billed-and-refunded": "the provider charges for it, but the tenant was not charged",
    "billed-and-still-held": "the provider charges for it, but the tenant has not been charged yet",
    "cost-is-not-what-was-said": "the cost on the bill differs from the cost in the provider's result",
    "charged-and-not-billed": "the tenant was charged, but the bill has no line for it",
}


@dataclass(slots=True)
class Reconciliation:
    """The sums of the bill (US dollars) and of the books (micro-credits), and their differences.

    `counts` has how many differences there are, by rule; `differences` has at most `MAX_DIFFERENCES` of them.
    """

    lines: int = 0
    billed_usd: Decimal = Decimal(0)
    matched: int = 0
    charged_microcredits: int = 0
    refunded_microcredits: int = 0
    held_microcredits: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    def add(self, rule: str, subject: str, detail: str) -> None:
        """Counts a difference, and keeps it while there are not too many."""
        self.counts[rule] += 1
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(Difference(rule, subject, detail))


async def compare(
    gateway: AdminGateway,
    bill: bytes,
    *,
    first_day: date,
    last_day: date,
    id_column: str = "request_id",
    cost_column: str = "cost",
) -> Reconciliation:
    """Compares RunComfy's bill of some days (UTC), a CSV file with a header, with the ledger as it is now.

    Raises:
        Problem: INVALID_BILL.

    """
    if last_day < first_day:
        detail = f"the last day, {last_day}, is before the first, {first_day}."
        refuse(INVALID_BILL, [FieldError("#/query/last_day", "range", detail)])
    from_ms, until_ms = _midnight_ms(first_day), _midnight_ms(last_day) + _DAY_MS
    file = io.TextIOWrapper(io.BytesIO(bill), encoding="utf-8-sig", newline="")
    lines = read_bill(file, id_column=id_column, cost_column=cost_column)
    return await gateway.db.snapshot(
        lambda connection: reconcile(connection, lines, from_ms=from_ms, until_ms=until_ms)
    )


def _midnight_ms(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp() * 1000)


def read_bill(file: TextIO, *, id_column: str, cost_column: str) -> Iterator[Line]:
    """Yields the lines of a bill, a CSV file with a header, as far as the first that is wrong.

    Raises:
        Problem: INVALID_BILL: a column is missing or there twice, or lines have no id, more fields than there
            are columns, or no cost that is a plain number of at least 0. It names the first such lines.

    """
    errors: list[FieldError] = []
    try:
        reader = csv.DictReader(file, strict=True)
        columns = reader.fieldnames or []
        for wanted in (id_column, cost_column):
            if columns.count(wanted) != 1:
                hint = "" if len(columns) != 1 else " Fields are separated by commas."
                there = printable(", ".join(columns)[:_MAX_SHOWN]) or "none"
                raise Problem(
                    INVALID_BILL, f"the bill needs exactly one column {quoted(wanted)}; it has {there}.{hint}"
                )
        for row in reader:
            number = reader.line_num
            # Of a cost of 1,50 only the 1 would be read.
            line = _line(number, row, id_column, cost_column) if None not in row else _TOO_MANY
            if isinstance(line, str):
                detail = f"line {number} of the bill has {line}."
                errors.append(FieldError(f"#/lines/{number}", "line", detail))
                if len(errors) == _MAX_ERRORS:
                    break
            elif not errors:
                yield line
    except (csv.Error, UnicodeError) as error:
        raise Problem(INVALID_BILL, f"the bill is not a CSV file in UTF-8: {error}") from error
    refuse(INVALID_BILL, errors)


def _line(number: int, row: Mapping[str, str | None], id_column: str, cost_column: str) -> Line | str:
    """Returns a line of the bill, or what is wrong with it."""
    cost, upstream_request_id = row[cost_column], (row[id_column] or "").strip()
    text = (cost or "").strip()
    cost_usd = Decimal(text) if _COST.fullmatch(text) else None
    if cost_usd is None or cost_usd > _MAX_USD:
        return f"no cost in plain US dollars, such as 0.25: {quoted(cost or '')}"
    if not upstream_request_id:
        return "no id"
    return Line(number, upstream_request_id, cost_usd)


def reconcile(
    connection: Connection, lines: Iterable[Line], *, from_ms: int, until_ms: int
) -> Reconciliation:
    """Compares a bill with the live requests, on a connection that sees one unchanging state.

    Requests that were submitted at `from_ms` or later, and before `until_ms`, must be on the bill if they
    were charged. A line of the bill may be for any request, whenever it was submitted.
    """
    found = Reconciliation()
    seen: dict[str, int] = {}
    rest = iter(lines)
    while batch := list(islice(rest, _BATCH)):
        fresh = [line for line in batch if _first_time(line, seen, found)]
        rows = _rows_of(connection, [line.upstream_request_id for line in fresh])
        for line in fresh:
            _compare(line, rows.get(line.upstream_request_id), found)
    _add_unbilled(connection, seen, from_ms, until_ms, found)
    found.differences.sort()
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    id: str
    mode: str
    state: str
    charge: str | None
    price_microcredits: int
    said_usd: Decimal | None


def _first_time(line: Line, seen: dict[str, int], found: Reconciliation) -> bool:
    found.lines += 1
    found.billed_usd += line.cost_usd
    first = seen.setdefault(line.upstream_request_id, line.number)
    if first == line.number:
        return True
    detail = f"lines {first} and {line.number}, {line.cost_usd} USD more"
    found.add("billed-twice", line.upstream_request_id, detail)
    return False


_COLUMNS = (
    generations.c.upstream_request_id,
    generations.c.id,
    generations.c.mode,
    generations.c.state,
    generations.c.charge,
    func.coalesce(generations.c.repriced_microcredits, generations.c.price_microcredits).label(
        "price_microcredits"
    ),
    generations.c.upstream_cost_usd,
)


def _rows_of(connection: Connection, upstream_request_ids: list[str]) -> dict[str, _Row]:
    from app.upstream.outcomes import is_safe_id  # noqa: PLC0415 - other commands need nothing of RunComfy

    # An id that we would never have stored is not ours, and a database might refuse it.
    possible = [one for one in upstream_request_ids if is_safe_id(one)]
    query = (
        select(*_COLUMNS)
        .where(generations.c.mode.in_(("live", "test")), generations.c.upstream_request_id.in_(possible))
        .order_by(generations.c.mode.desc())  # a live request wins over one of the sandbox with its id
    )
    return {
        upstream_id: _Row(id_, mode, state, charge, price or 0, None if said is None else Decimal(said))
        for upstream_id, id_, mode, state, charge, price, said in connection.execute(query)
    }


def _compare(line: Line, row: _Row | None, found: Reconciliation) -> None:
    if row is None:
        detail = f"line {line.number}, {line.cost_usd} USD"
        found.add("billed-and-not-ours", line.upstream_request_id, detail)
        return
    billed = f"line {line.number}, {line.cost_usd} USD; it is {row.state}"
    if row.mode == "test":
        found.add("billed-and-a-test-request", row.id, billed)
        return
    found.matched += 1
    if row.charge == Charge.SETTLED:
        found.charged_microcredits += row.price_microcredits
    elif row.charge == Charge.REFUNDED:
        found.refunded_microcredits += row.price_microcredits
        if line.cost_usd:
            found.add("billed-and-refunded", row.id, billed)
    elif row.charge == Charge.HELD:
        found.held_microcredits += row.price_microcredits
    if row.charge in {Charge.HELD, None} and line.cost_usd:
        held = f"{credits_text(row.price_microcredits)} credits are held" if row.charge else "nothing is held"
        found.add("billed-and-still-held", row.id, f"{billed}, {held}")
    if row.said_usd is not None and row.said_usd != line.cost_usd:
        detail = f"line {line.number}, {line.cost_usd} USD; its result said {row.said_usd} USD"
        found.add("cost-is-not-what-was-said", row.id, detail)


def _add_unbilled(
    connection: Connection, seen: Mapping[str, int], from_ms: int, until_ms: int, found: Reconciliation
) -> None:
    query = select(*_COLUMNS).where(
        generations.c.mode == "live",
        generations.c.charge == Charge.SETTLED,
        generations.c.price_microcredits > 0,
        generations.c.created_at_ms >= from_ms,
        generations.c.created_at_ms < until_ms,
    )
    for upstream_id, id_, _, state, _, price, _ in connection.execute(
        query.execution_options(yield_per=_BATCH)
    ):
        if upstream_id not in seen:
            where = f"at the provider {upstream_id or 'unknown'}"
            detail = f"{credits_text(price or 0)} credits; it is {state}, {where}"
            found.add("charged-and-not-billed", id_, detail)
