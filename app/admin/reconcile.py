"""Comparing the provider's bill with the books.

Every line of the bill must be one of our live requests, and every live request that was charged must be a
line.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from typing import Final, TextIO

from sqlalchemy import Connection, func, select

from app.admin.session import AdminGateway
from app.db.tables import generations
from app.errors import INVALID_BILL, Problem
from app.quotas.amounts import credits_text
from app.quotas.ledger import Charge
from app.upstream.outcomes import is_safe_id

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
    """The sums of the bill (US dollars) and of the books (micro-credits), and every difference."""

    lines: int = 0
    billed_usd: Decimal = Decimal(0)
    matched: int = 0
    charged_microcredits: int = 0
    refunded_microcredits: int = 0
    held_microcredits: int = 0
    differences: list[Difference] = field(default_factory=list)


async def compare(
    gateway: AdminGateway,
    file: TextIO,
    *,
    first_day: date,
    last_day: date,
    id_column: str,
    cost_column: str,
) -> Reconciliation:
    """Compares the bill of these days (UTC), a CSV file with a header, with the books as they are now.

    Raises:
        Problem: INVALID_BILL.

    """
    if last_day < first_day:
        raise Problem(INVALID_BILL, f"the last day, {last_day}, is before the first, {first_day}.")
    from_ms, until_ms = _midnight_ms(first_day), _midnight_ms(last_day) + _DAY_MS
    lines = read_bill(file, id_column=id_column, cost_column=cost_column)
    return await gateway.db.snapshot(
        lambda connection: reconcile(connection, lines, from_ms=from_ms, until_ms=until_ms)
    )


def _midnight_ms(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp() * 1000)


def read_bill(file: TextIO, *, id_column: str, cost_column: str) -> Iterator[Line]:
    """Yields the lines of a bill, a CSV file with a header.

    Raises:
        Problem: INVALID_BILL: a column is missing or there twice, or a line has no id, more fields than there
            are columns, or no cost that is a plain number of at least 0.

    """
    try:
        reader = csv.DictReader(file, strict=True)
        columns = reader.fieldnames or []
        for wanted in (id_column, cost_column):
            if columns.count(wanted) != 1:
                hint = "" if len(columns) != 1 else " Fields are separated by commas."
                raise Problem(
                    INVALID_BILL,
                    f"the bill needs exactly one column {wanted!r}; it has"
                    f" {', '.join(columns) or 'none'}.{hint}",
                )
        for row in reader:
            if None in row:  # such as a cost of 1,50, of which only the 1 would be read
                raise Problem(
                    INVALID_BILL, f"line {reader.line_num} of the bill has more fields than its header."
                )
            yield _line(reader.line_num, row[id_column], row[cost_column])
    except (csv.Error, UnicodeError) as error:
        raise Problem(INVALID_BILL, f"the bill is not a CSV file in UTF-8: {error}") from error


def _line(number: int, upstream_request_id: str | None, cost: str | None) -> Line:
    text = (cost or "").strip()
    cost_usd = Decimal(text) if _COST.fullmatch(text) else None
    if cost_usd is None or cost_usd > _MAX_USD:
        raise Problem(
            INVALID_BILL,
            f"line {number} of the bill has no cost in plain US dollars, such as 0.25: {cost!r}.",
        )
    if not (upstream_request_id or "").strip():
        raise Problem(INVALID_BILL, f"line {number} of the bill has no id.")
    return Line(number, (upstream_request_id or "").strip(), cost_usd)


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
    found.differences += _unbilled(connection, seen, from_ms, until_ms)
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
    found.differences.append(Difference("billed-twice", line.upstream_request_id, detail))
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
        found.differences.append(Difference("billed-and-not-ours", line.upstream_request_id, detail))
        return
    billed = f"line {line.number}, {line.cost_usd} USD; it is {row.state}"
    if row.mode == "test":
        found.differences.append(Difference("billed-and-a-test-request", row.id, billed))
        return
    found.matched += 1
    if row.charge == Charge.SETTLED:
        found.charged_microcredits += row.price_microcredits
    elif row.charge == Charge.REFUNDED:
        found.refunded_microcredits += row.price_microcredits
        if line.cost_usd:
            found.differences.append(Difference("billed-and-refunded", row.id, billed))
    elif row.charge == Charge.HELD:
        found.held_microcredits += row.price_microcredits
    if row.charge in {Charge.HELD, None} and line.cost_usd:
        held = f"{credits_text(row.price_microcredits)} credits are held" if row.charge else "nothing is held"
        found.differences.append(Difference("billed-and-still-held", row.id, f"{billed}, {held}"))
    if row.said_usd is not None and row.said_usd != line.cost_usd:
        detail = f"line {line.number}, {line.cost_usd} USD; its result said {row.said_usd} USD"
        found.differences.append(Difference("cost-is-not-what-was-said", row.id, detail))


def _unbilled(
    connection: Connection, seen: dict[str, int], from_ms: int, until_ms: int
) -> Iterator[Difference]:
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
            yield Difference("charged-and-not-billed", id_, detail)
