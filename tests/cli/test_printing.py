"""Whatever stands in a row, what a command prints of it is one line that can be read, and forges no other."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.admin.violations import faults_of_text
from app.cli.amounts import ledger
from app.cli.tables import print_json, print_table, say
from app.documents.admin.amounts.ledger import listed_entry
from app.kit.text import printable
from app.quotas.account import Owner
from app.quotas.balances.ledger import Entry, Kind
from app.quotas.limits import Scope

APP = Path(__file__).parents[2] / "app" / "cli"
FORGED = "paid\n17  2026-11-30T00:00:00.000Z  acme  live  top-up  +1000"
ODD = {
    "a line break": FORGED,
    "a carriage return": "paid\rtop-up",
    "a tab": "a\tb",
    "a terminal's command": "\x1b[2J\x1b[1;1Hall is well",
    "a C1 control": "a\x9b2Jb",
    "a backspace": "ten\b\b\bone",
    "a line separator": "a\u2028b",
    "a paragraph separator": "a\u2029b",
    "a next line": "a\x85b",
    "an override of direction": "acme\u202eevil",
    "an isolate": "a\u2066b\u2069",
    "a zero-width space": "ac\u200bme",
    "a byte order mark": "\ufeffacme",
    "a tag": "a\U000e0041b",
    "a lone surrogate": "a\udc80b",
}


@pytest.mark.parametrize("name", ODD)
def test_such_a_text_is_refused_where_it_is_given_and_pointed_at(name: str) -> None:
    (fault,) = faults_of_text("#/note", "a note", ODD[name], max_length=200)
    assert (fault.pointer, fault.code) == ("#/note", "pattern")
    assert ODD[name] not in fault.detail


@pytest.mark.parametrize("name", ODD)
def test_a_row_of_an_older_version_prints_as_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = Entry(1, Owner("t", "live"), Kind.TOP_UP, None, Scope(), 1, 0, ODD[name], ODD[name])
    monkeypatch.setattr(ledger, "call_list", lambda *_, **__: [listed_entry(ODD[name], entry)])
    ledger.list_entries()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    ledger.list_entries(as_json=True)
    said = capsys.readouterr().out
    assert all(line.isprintable() for line in said.split("\n"))
    assert json.loads(said)[0]["note"] == ODD[name]


texts = st.text(st.characters(exclude_categories=()), max_size=20)


@given(st.lists(st.tuples(texts, texts), max_size=4))
def test_a_table_has_a_line_for_each_row_whatever_stands_in_it(rows: list[tuple[str, ...]]) -> None:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.cli.tables.typer.echo", lambda line, **_: lines.append(line))
        print_table(("A", "B"), rows)
        for row in rows:
            say(row[0])
    assert len(lines) == 1 + 2 * len(rows)
    assert all(line.isprintable() for line in lines)


@given(st.dictionaries(texts, texts, max_size=4))
def test_json_prints_readable_lines_and_is_the_same_document(document: dict[str, Any]) -> None:
    printed: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.cli.tables.typer.echo", printed.append)
        print_json(document)
    (text,) = printed
    assert all(line.isprintable() for line in text.split("\n"))
    # A pair of lone surrogates is read back as the character that they stand for.
    assert json.loads(text) == json.loads(json.dumps(document))


@given(texts)
def test_a_text_that_is_readable_is_shown_as_it_is(text: str) -> None:
    assert printable(text).isprintable()
    assert (printable(text) == text) == text.isprintable()


def test_commands_print_by_these_functions_alone() -> None:
    # `entry` and `dev` print texts of several lines of our own; `audit` exports bytes that were hashed, and
    # `statements` and `usage` write CSV, whose cells are made safe.
    allowed = {"tables.py", "entry.py", "dev.py", "audit.py", "statements.py", "usage.py", "portal_links.py"}
    direct = re.compile(r"typer\.echo\(|(?<![\w.])print\(|sys\.std(?:out|err)\.write\(")
    found = {path.name for path in APP.rglob("*.py") if direct.search(path.read_text())}
    assert found <= allowed
