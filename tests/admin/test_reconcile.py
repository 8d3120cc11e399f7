"""The provider's bill beside the books: read as it stands or refused, and every difference told."""

import io
import itertools
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, insert

from app.admin.verifying.reconcile import (
    RULES,
    Difference,
    Line,
    Reconciliation,
    read_bill,
    reconcile,
)
from app.db.engines.engine import Database
from app.db.schema.tables import generations
from app.errors import INVALID_BILL, Problem
from app.generations.lifecycle import State
from app.kit.ids import new_id
from app.quotas.balances.ledger import Charge
from tests.rows import NOW_MS, PRICE, add_owner

DAY_MS = 86_400_000
_numbers = itertools.count()


def _job(connection: Connection, owner: tuple[str, str], **columns: Any) -> str:
    """A live request that completed and was charged, unless told otherwise."""
    request_id = new_id(NOW_MS)
    row = {
        "id": request_id,
        "tenant_id": owner[0],
        "kid": owner[1],
        "mode": "live",
        "model_id": "a/b",
        "input": "{}",
        "price_microcredits": PRICE,
        "state": State.COMPLETED,
        "version": 1,
        "upstream_request_id": f"job-{next(_numbers)}",
        "upstream_cost_usd": "0.1",
        "trace_id": "0" * 32,
        "created_at_ms": NOW_MS,
        "changed_at_ms": NOW_MS,
        "charge": Charge.SETTLED,
        **columns,
    }
    connection.execute(insert(generations).values(row))
    return request_id


async def _compare(
    db: Database,
    jobs: Sequence[dict[str, Any]],
    bill: Sequence[tuple[str, str]],
    *,
    from_ms: int = NOW_MS,
    until_ms: int = NOW_MS + DAY_MS,
) -> tuple[list[str], Reconciliation]:
    """The ids of requests like these, and what comes of a bill with these ids and costs."""

    def add_all(connection: Connection) -> list[str]:
        owner = add_owner(connection)
        return [_job(connection, owner, **columns) for columns in jobs]

    ids = await db.write(add_all)
    lines = [Line(number, id_, Decimal(cost)) for number, (id_, cost) in enumerate(bill, 2)]
    return ids, await db.snapshot(lambda c: reconcile(c, lines, from_ms=from_ms, until_ms=until_ms))


@pytest.mark.anyio
class TestReconcile:
    async def test_a_bill_of_all_that_was_charged_has_no_difference(self, db: Database) -> None:
        jobs: list[dict[str, Any]] = [
            {"upstream_request_id": "a"},
            {"upstream_request_id": "b", "upstream_cost_usd": None},
            {"upstream_request_id": "lost", "state": State.LOST, "upstream_cost_usd": None},
            # Free where it was refunded, and not on the bill at all where it never was a job.
            {
                "upstream_request_id": "c",
                "state": State.FAILED,
                "charge": Charge.REFUNDED,
                "upstream_cost_usd": "0.0",
            },
            {"upstream_request_id": None, "state": State.REJECTED, "charge": Charge.REFUNDED},
            # Free so far where it is still open, or from before the ledger.
            {
                "upstream_request_id": "d",
                "state": State.IN_QUEUE,
                "charge": Charge.HELD,
                "upstream_cost_usd": None,
            },
            {"upstream_request_id": "e", "charge": None, "upstream_cost_usd": None},
            # Not billed, and nothing was asked for it.
            {"upstream_request_id": "free", "price_microcredits": 0},
        ]
        bill = [("a", "0.10"), ("b", "7"), ("lost", "0.3"), ("c", "0"), ("d", "0"), ("e", "0")]
        _, found = await _compare(db, jobs, bill)
        assert found.differences == []
        assert (found.lines, found.matched, found.billed_usd) == (6, 6, Decimal("7.40"))
        assert (found.charged_microcredits, found.refunded_microcredits) == (3 * PRICE, PRICE)
        assert found.held_microcredits == PRICE

    async def test_a_line_of_no_request_is_told(self, db: Database) -> None:
        _, found = await _compare(db, [], [("nobody", "0.5")])
        assert found.differences == [Difference("billed-and-not-ours", "nobody", "line 2, 0.5 USD")]
        assert (found.lines, found.matched, found.billed_usd) == (1, 0, Decimal("0.5"))

    async def test_a_test_request_on_a_bill_is_called_one(self, db: Database) -> None:
        (id_,), found = await _compare(db, [{"mode": "test", "upstream_request_id": "a"}], [("a", "0.1")])
        assert found.differences == [
            Difference("billed-and-a-test-request", id_, "line 2, 0.1 USD; it is completed")
        ]
        assert (found.matched, found.charged_microcredits) == (0, 0)

    @pytest.mark.parametrize("modes", [("live", "test"), ("test", "live")])
    async def test_an_id_of_both_is_the_live_ones(self, db: Database, modes: tuple[str, str]) -> None:
        jobs = [{"mode": mode, "upstream_request_id": "a"} for mode in modes]
        _, found = await _compare(db, jobs, [("a", "0.1")])
        assert (found.matched, found.differences) == (1, [])

    @pytest.mark.parametrize(
        ("state", "charge", "held", "told"),
        [
            (State.IN_QUEUE, Charge.HELD, PRICE, "0.25 credits are held"),
            (State.UNKNOWN, Charge.HELD, PRICE, "0.25 credits are held"),
            (State.COMPLETED, None, 0, "nothing is held"),
        ],
    )
    async def test_a_bill_for_what_nobody_was_charged_for_yet_is_told(
        self, db: Database, *, state: State, charge: Charge | None, held: int, told: str
    ) -> None:
        jobs = [{"upstream_request_id": "a", "state": state, "charge": charge}]
        (id_,), found = await _compare(db, jobs, [("a", "0.1")])
        detail = f"line 2, 0.1 USD; it is {state}, {told}"
        assert found.differences == [Difference("billed-and-still-held", id_, detail)]
        assert (found.matched, found.held_microcredits, found.charged_microcredits) == (1, held, 0)

    async def test_an_id_that_no_database_would_take_is_not_ours(self, db: Database) -> None:
        _, found = await _compare(db, [], [("a\0b", "1"), ("☃" * 300, "1")])
        assert [one.rule for one in found.differences] == ["billed-and-not-ours"] * 2

    async def test_a_job_billed_twice_is_told_and_its_cost_compared_once(self, db: Database) -> None:
        jobs = [{"upstream_request_id": "a"}]
        _, found = await _compare(db, jobs, [("a", "0.1"), ("a", "0.1"), ("a", "0.2")])
        assert found.differences == [
            Difference("billed-twice", "a", "lines 2 and 3, 0.1 USD more"),
            Difference("billed-twice", "a", "lines 2 and 4, 0.2 USD more"),
        ]
        assert (found.lines, found.matched, found.charged_microcredits) == (3, 1, PRICE)
        assert found.billed_usd == Decimal("0.4")

    async def test_a_charge_of_the_providers_that_the_tenant_got_back_is_told(self, db: Database) -> None:
        jobs = [{"upstream_request_id": "a", "state": State.LOST, "charge": Charge.REFUNDED}]
        (request_id,), found = await _compare(db, jobs, [("a", "0.1")])
        assert found.differences == [
            Difference("billed-and-refunded", request_id, "line 2, 0.1 USD; it is lost")
        ]

    async def test_another_cost_than_the_result_had_is_told(self, db: Database) -> None:
        jobs = [{"upstream_request_id": "a", "upstream_cost_usd": "1e-05"}, {"upstream_request_id": "b"}]
        (request_id, _), found = await _compare(db, jobs, [("a", "0.1"), ("b", "0.1000")])
        assert found.differences == [
            Difference(
                "cost-is-not-what-was-said", request_id, "line 2, 0.1 USD; its result said 0.00001 USD"
            )
        ]

    async def test_what_was_charged_and_is_on_no_bill_is_told(self, db: Database) -> None:
        jobs: list[dict[str, Any]] = [
            {"upstream_request_id": "a"},
            {"upstream_request_id": None, "state": State.LOST},
            {"upstream_request_id": "c", "mode": "test"},
            {"upstream_request_id": "d", "charge": Charge.REFUNDED},
        ]
        (here, lost, *_), found = await _compare(db, jobs, [])
        rule = "charged-and-not-billed"
        assert found.differences == sorted(
            [
                Difference(rule, here, "0.25 credits; it is completed, at the provider a"),
                Difference(rule, lost, "0.25 credits; it is lost, at the provider unknown"),
            ]
        )

    async def test_the_period_has_its_first_millisecond_and_not_its_last(self, db: Database) -> None:
        moments = (NOW_MS - 1, NOW_MS, NOW_MS + DAY_MS - 1, NOW_MS + DAY_MS)
        (_, first, last, _), found = await _compare(db, [{"created_at_ms": at_ms} for at_ms in moments], [])
        assert {one.subject for one in found.differences} == {first, last}

    async def test_a_line_may_be_for_a_request_of_another_period(self, db: Database) -> None:
        jobs = [{"upstream_request_id": "a", "created_at_ms": NOW_MS - 9 * DAY_MS}]
        _, found = await _compare(db, jobs, [("a", "0.1")])
        assert (found.matched, found.differences) == (1, [])

    async def test_two_thousand_lines_are_looked_up_in_four_statements(self, db: Database) -> None:
        jobs = [{"upstream_request_id": f"many-{number}"} for number in range(2000)]
        bill = [(f"many-{number}", "0.1") for number in range(1999)]
        bill.insert(700, ("many-3", "0.1"))  # in another batch than the first line of that job
        statements: list[str] = []

        def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            statements.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            ids, found = await _compare(db, jobs, bill)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        assert sum("IN (" in one for one in statements) == 4
        assert [(one.rule, one.subject) for one in found.differences] == [
            ("billed-twice", "many-3"),
            ("charged-and-not-billed", ids[-1]),
        ]
        assert (found.lines, found.matched, found.charged_microcredits) == (2000, 1999, 1999 * PRICE)

    async def test_every_rule_that_is_told_is_explained(self, db: Database) -> None:
        jobs = [
            {"upstream_request_id": "a"},
            {"upstream_request_id": "b", "charge": Charge.REFUNDED},
            {"upstream_request_id": "c"},
            {"upstream_request_id": "d", "charge": Charge.HELD},
            {"upstream_request_id": "e", "mode": "test"},
        ]
        costs = {"a": "9", "b": "0.1", "d": "0.1", "e": "0.1", "nobody": "1"}
        _, found = await _compare(db, jobs, [("a", "9"), *costs.items()])
        assert {one.rule for one in found.differences} == set(RULES)
        page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
        assert [rule for rule in RULES if f"\n| `{rule}` | " not in page] == []
        assert found.differences == sorted(found.differences)


def _read(text: str, **columns: str) -> list[Line]:
    names = {"id_column": "request_id", "cost_column": "cost", **columns}
    return list(read_bill(io.StringIO(text, newline=""), **names))


class TestReadBill:
    def test_a_bill_is_read_whatever_else_and_in_whatever_order_it_has(self) -> None:
        text = "when,cost,note,request_id\n2026-01-01,0.15,x,a\n2026-01-02, 1.5 , y , b \n"
        assert _read(text) == [Line(2, "a", Decimal("0.15")), Line(3, "b", Decimal("1.5"))]

    def test_its_columns_may_have_other_names(self) -> None:
        assert _read("Job ID,Betrag\na,1\n", id_column="Job ID", cost_column="Betrag") == [
            Line(2, "a", Decimal(1))
        ]

    def test_quoted_fields_are_read_as_one_each_with_the_number_of_their_last_line(self) -> None:
        text = 'request_id,note,cost\r\n"a","one, ""two""\r\nthree","0.1"\r\n"b",,"0.2"\r\n'
        assert _read(text) == [Line(3, "a", Decimal("0.1")), Line(4, "b", Decimal("0.2"))]

    def test_empty_lines_and_no_lines_at_all_are_no_error(self) -> None:
        assert _read("request_id,cost\n\na,1\n\n") == [Line(3, "a", Decimal(1))]
        assert _read("request_id,cost\n") == []

    @pytest.mark.parametrize("header", ["request_id,cost", '"request_id","cost"'])
    def test_a_byte_order_mark_is_not_of_the_first_column(self, tmp_path: Path, header: str) -> None:
        path = tmp_path / "bill.csv"
        path.write_text(f"\ufeff{header}\na,1\n", encoding="utf-8")
        with path.open(encoding="utf-8-sig", newline="") as file:
            assert list(read_bill(file, id_column="request_id", cost_column="cost")) == [
                Line(2, "a", Decimal(1))
            ]

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("", "exactly one column 'request_id'; it has none"),
            ("id,cost\na,1\n", "exactly one column 'request_id'; it has id, cost"),
            ("request_id,price\na,1\n", "exactly one column 'cost'; it has request_id, price"),
            ("request_id,cost,cost\na,1,2\n", "exactly one column 'cost'"),
            ("request_id;cost\na;1\n", "it has request_id;cost. Fields are separated by commas."),
            ("request_id\tcost\na\t1\n", "Fields are separated by commas."),
            (
                "request_id,cost\na\n",
                "line 2 of the bill has no cost in plain US dollars, such as 0.25: ''",
            ),
            ("cost,request_id\n1\n", "line 2 of the bill has no id"),
            ("request_id,cost\na,1\n ,1\n", "line 3 of the bill has no id"),
            ("request_id,cost\na,1,50\n", "line 2 of the bill has more fields than its header"),
            ('request_id,cost\n"a,1\n', "not a CSV file"),
            ('request_id,cost\n"a"b,1\n', "not a CSV file"),
        ],
    )
    def test_what_is_no_bill_is_refused_in_the_operators_words(self, text: str, what: str) -> None:
        with pytest.raises(Problem, match="bill") as refused:
            _read(text)
        assert what in refused.value.detail
        assert refused.value.fault is INVALID_BILL

    def test_what_is_not_utf8_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "bill.csv"
        path.write_bytes(b"request_id,cost\n\xe9,1\n")
        with path.open(encoding="utf-8-sig", newline="") as file, pytest.raises(Problem, match="UTF-8"):
            list(read_bill(file, id_column="request_id", cost_column="cost"))

    @pytest.mark.parametrize(
        ("cost", "usd"),
        [
            ("0", "0"),
            ("+3", "3"),
            (".5", "0.5"),
            ("1.5E-05", "0.000015"),
            ("999999999.99", "999999999.99"),
        ],
    )
    def test_a_cost_may_be_nothing_or_tiny_or_huge(self, cost: str, usd: str) -> None:
        assert _read(f"request_id,cost\na,{cost}\n") == [Line(2, "a", Decimal(usd))]

    @pytest.mark.parametrize(
        "cost",
        [
            *(
                "",
                "x",
                "nan",
                "sNaN",
                "inf",
                "-Infinity",
                "$",
                "$1",
                "-0.25",
                "-$0.25",
                "-",
                ".",
                "--1",
                "1.2.3",
                "0x10",
                "٣",
            ),
            *("1_000", '"1,000.50"', '"1,50"', "1 000", "1.50 USD", "€1", "(1)", "1e9999", "1e99"),
        ],
    )
    def test_a_cost_that_is_none_or_can_be_read_in_two_ways_is_refused(self, cost: str) -> None:
        with pytest.raises(Problem, match="line 2 of the bill has no cost in plain US dollars"):
            _read(f"request_id,cost\na,{cost}\n")

    def test_it_is_read_line_by_line(self) -> None:
        """A bill may be larger than the memory."""
        file = io.StringIO("request_id,cost\na,1\nb,x\n")
        lines = read_bill(file, id_column="request_id", cost_column="cost")
        assert next(lines).upstream_request_id == "a"
        with pytest.raises(Problem):
            next(lines)
