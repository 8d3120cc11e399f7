"""Right books verify clean, and whatever is changed behind the gateway's back is found and named."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool

from app.admin.verifying.verify import _RULES, verify
from app.db.engines.engine import sync_url
from app.generations.lifecycle import State
from app.quotas.balances.ledger import Charge
from tests.admin.books import OTHER_PRICE, PRICE, engine_of, keep_books, tampering
from tests.admin.tampering import CAREFUL, ENTRIES, SUMS
from tests.admin.tampering_rows import ROWS

TAMPERINGS = ENTRIES | SUMS | CAREFUL | ROWS


@dataclass
class Kept:
    """A database with the books, and the ids in them by name."""

    engine: Engine
    names: dict[str, str]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def books_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An own, migrated, empty database of either kind, for all tests here."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        path = tmp_path_factory.mktemp("books") / "books.db"
        path.write_bytes(template.read_bytes())
        yield f"sqlite:///{path}"
        return
    server: str = request.getfixturevalue("postgres_server")
    name, template_name = f"books_{uuid.uuid4().hex}", request.getfixturevalue("postgres_template")
    administrator = create_engine(sync_url(server), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with administrator.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template_name}"'))
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with administrator.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture(scope="module")
def kept(books_url: str) -> Iterator[Kept]:
    """Made once: every test only looks, or changes what it rolls back."""
    engine = engine_of(books_url, foreign_keys=False)
    with engine.begin() as connection:
        names = keep_books(connection)
    yield Kept(engine, names)
    engine.dispose()


def test_books_of_every_state_and_charge_are_right(kept: Kept) -> None:
    with kept.engine.connect() as connection:
        report = verify(connection)
        rows = connection.execute(text("SELECT state, charge, price_microcredits FROM generations")).all()
    assert report.findings == []
    assert {row.state for row in rows} == set(State)
    assert {row.charge for row in rows} == {*Charge, None}
    assert report.generations == len(rows)
    live = {"dispatching", "in_queue", "in_progress", "unknown"}
    assert report.in_flight == sum(row.state in live for row in rows)
    assert report.entries == 5 + sum(
        {"held": 1, "settled": 2, "refunded": 2}.get(row.charge, 0) for row in rows
    )
    held, spent = (
        sum(row.price_microcredits for row in rows if row.charge == charge) for charge in ("held", "settled")
    )
    assert (report.held_microcredits, report.spent_microcredits) == (held, spent)
    assert spent == 2 * OTHER_PRICE + 9 * PRICE
    assert report.added_microcredits == 113_000_000


def test_books_with_nothing_in_them_are_right(kept: Kept) -> None:
    tables = (
        "ledger_entries",
        "generation_events",
        "generations",
        "quota_usage",
        "usage_counts",
        "queues",
        "client_tokens",
        "api_keys",
        "tenants",
    )
    with tampering(kept.engine, *(f"DELETE FROM {table}" for table in tables)) as connection:  # noqa: S608
        report = verify(connection)
    assert (report.generations, report.entries, report.findings) == (0, 0, [])


def test_the_planting_itself_is_not_what_is_found(kept: Kept) -> None:
    with tampering(kept.engine) as connection:
        assert verify(connection).findings == []


@pytest.mark.parametrize("name", TAMPERINGS)
def test_every_tampering_is_found_by_its_rule_and_named(kept: Kept, name: str) -> None:
    one = TAMPERINGS[name]
    with tampering(kept.engine, *one.statements, **kept.names) as connection:
        findings = verify(connection).findings
    told = [f"{finding.subject}: {finding.detail}" for finding in findings if finding.rule == one.rule]
    assert told, f"{one.rule} did not find it; found: {findings}"
    assert any(kept.names.get(one.subject, one.subject) in each for each in told), told


def test_every_rule_has_a_tampering_that_it_finds() -> None:
    """A rule that nothing breaks is a rule that may not work."""
    others = {
        "quota-day-is-not-when-it-was-made",
        "usage-is-not-the-sum-of-the-rows",
        "roll-up-is-not-the-sum-of-the-ledger",
    }
    assert {*_RULES, *others} == {one.rule for one in TAMPERINGS.values()}


def test_of_many_findings_of_a_rule_two_hundred_are_shown(kept: Kept) -> None:
    copies = (
        "INSERT INTO quota_usage (tenant_id, mode, kid, model_id, period, held_generations,"
        " spent_generations, held_microcredits, spent_microcredits, added_microcredits)"
        " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
        " SELECT :acme, 'test', '', CAST(i AS TEXT), 'total', 1, 0, 0, 0, 0 FROM n"
    )
    with tampering(kept.engine, copies, **kept.names) as connection:
        assert len(verify(connection).findings) == 200


REFUSED_CHANGES = {
    "an update": "UPDATE ledger_entries SET microcredits = microcredits + 1",
    "an update of one": "UPDATE ledger_entries SET note = 'x' WHERE id = 1",
    "a delete": "DELETE FROM ledger_entries",
    "a delete of one": "DELETE FROM ledger_entries WHERE id = 1",
}
REFUSED_TRUNCATES = {
    "a truncate": "TRUNCATE ledger_entries",
    "a truncate of what it hangs on": "TRUNCATE generations CASCADE",
}


def test_the_database_refuses_to_change_an_entry(kept: Kept) -> None:
    has_truncate = kept.engine.dialect.name == "postgresql"
    for what in (REFUSED_CHANGES | (REFUSED_TRUNCATES if has_truncate else {})).values():
        with kept.engine.connect() as connection, pytest.raises(DBAPIError, match="append-only"):
            connection.execute(text(what))


def _entry(generation: str, kind: str, **columns: str) -> str:
    values = {
        "tenant_id": ":acme",
        "mode": "'test'",
        "kind": f"'{kind}'",
        "generation_id": generation,
        "kid": "''",
        "model_id": "''",
        "microcredits": "1",
        "at_ms": "1",
        **columns,
    }
    return f"INSERT INTO ledger_entries ({', '.join(values)}) VALUES ({', '.join(values.values())})"  # noqa: S608


REFUSED_ENTRIES = {
    "a second hold": _entry(":in_queue", "hold"),
    "a second settle": _entry(":completed", "settle"),
    "a second refund": _entry(":failed", "refund"),
    "a refund of what was settled": _entry(":completed", "refund"),
    "a settle of what was refunded": _entry(":failed", "settle"),
    "a hold of nothing": _entry("NULL", "hold"),
    "a top-up of a request": _entry(":in_queue", "top-up"),
    "a payment that is entered twice": _entry("NULL", "top-up", reference="'payment-1'"),
    "another kind": _entry("NULL", "present"),
    "another mode": _entry("NULL", "top-up", mode="'demo'"),
}


@pytest.mark.parametrize("what", REFUSED_ENTRIES)
def test_the_database_refuses_a_wrong_entry(kept: Kept, what: str) -> None:
    with kept.engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(text(REFUSED_ENTRIES[what]), kept.names)
