"""Limits, balances and the books from the command line, beside a running server."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import create_engine, text

from app.db.engine import sync_url
from tests.harness import SUBMIT
from tests.sandbox.harness import DREAMINA, Running
from tests.scenarios.processes import Commands, Place, place_for, started


@pytest.fixture
def place(tmp_path: Path, database_url: str, sandbox: Running) -> Place:
    return place_for(tmp_path, database_url, sandbox.options.public_url)


def _key(reelgate: Commands, place: Place, *more: str) -> str:
    return reelgate.run(place, "keys", "create", "--tenant", "acme", "--test", "--quiet", *more).out.strip()


def _submit(place: Place, key: str, sandbox: Running) -> httpx2.Response:
    body = {"image_urls": [f"{sandbox.options.public_url}/samples/harbour.jpg"], "prompt": "[sandbox:queued]"}
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.post(f"{place.url}{SUBMIT}", json=body, headers=headers, trust_env=False, timeout=30)


def test_limits_set_beside_a_running_server_hold_from_the_next_submit(
    place: Place, reelgate: Commands, sandbox: Running
) -> None:
    reelgate.run(place, "tenants", "create", "acme", "--time-zone", "Europe/Berlin")
    key = _key(reelgate, place)
    of_acme = ("--tenant", "acme", "--test")
    with started(place):
        assert _submit(place, key, sandbox).status_code == 200
        shown = reelgate.run(place, "limits", "set", "generations-day=2", "credits-month=0.4", *of_acme).out
        assert "tenant-generations-day" in shown
        assert "tenant-credits-month" in shown
        kid = key.split("_")[2]
        reelgate.run(
            place, "limits", "set", "in-flight=9", "--tenant", "acme", "--key", kid, "--model", DREAMINA
        )
        assert _submit(place, key, sandbox).status_code == 200
        refused = _submit(place, key, sandbox)
        assert refused.status_code == 429
        assert refused.json()["violated-policies"] == ["tenant-generations-day", "tenant-credits-month"]
        assert "0.3 credits held for requests under way" in refused.json()["detail"]
        listed: list[dict[str, Any]] = json.loads(reelgate.run(place, "limits", "list", "--json").out)
        found = {one["standing"]["policy"]: one["standing"] for one in listed}
        assert found["tenant-generations-day"]["remaining"] == 0
        assert found["tenant-credits-month"]["held"] == 300_000
        assert found["key-model-in-flight"]["held"] == 2
        assert len(reelgate.run(place, "limits", "list", "--tenant", "acme").out.splitlines()) == 4
        reelgate.run(place, "limits", "unset", "generations-day", "credits-month", *of_acme)
        assert _submit(place, key, sandbox).status_code == 200
    missing = reelgate.run(place, "limits", "unset", "generations-day", *of_acme, expect=1)
    assert missing.err == "reelgate: there was no such limit: generations-day.\n"


def test_a_prepaid_balance_is_topped_up_once_for_a_reference_and_adjusted_with_a_reason(
    place: Place, reelgate: Commands, sandbox: Running
) -> None:
    reelgate.run(place, "tenants", "create", "acme")
    key = _key(reelgate, place)
    of_acme = ("--tenant", "acme", "--test")
    top_up = ("ledger", "top-up", "0.3", *of_acme, "--reference", "INVOICE-1", "--note", "first")
    assert "Entered: top-up of 0.3 credits." in reelgate.run(place, *top_up).out
    assert "is there already" in reelgate.run(place, *top_up).out
    other = reelgate.run(place, "ledger", "top-up", "5", *of_acme, "--reference", "INVOICE-1", expect=1)
    assert "belongs to another entry" in other.err
    reelgate.run(place, "ledger", "adjust", *of_acme, "--note", "goodwill", "--", "-0.05")
    with started(place):
        assert _submit(place, key, sandbox).status_code == 200
        refused = _submit(place, key, sandbox)
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exhausted")
        assert "retry-after" not in refused.headers
    entries: list[dict[str, Any]] = json.loads(reelgate.run(place, "ledger", "list", "--json").out)
    assert [(one["kind"], one["microcredits"], one["note"]) for one in entries] == [
        ("hold", -150_000, None),
        ("adjustment", -50_000, "goodwill"),
        ("top-up", 300_000, "first"),
    ]
    of_request = reelgate.run(place, "ledger", "list", "--request", entries[0]["request_id"], "--json")
    assert [one["kind"] for one in of_request.json] == ["hold"]
    assert len(reelgate.run(place, "ledger", "list", "--tenant", "acme").out.splitlines()) == 4


def test_the_books_are_verified_beside_a_running_server_and_a_wrong_sum_is_named(
    place: Place, database_url: str, reelgate: Commands, sandbox: Running
) -> None:
    reelgate.run(place, "tenants", "create", "acme")
    key = _key(reelgate, place)
    with started(place):
        _submit(place, key, sandbox)
        assert "The books are right." in reelgate.run(place, "ledger", "verify").out
    report = reelgate.run(place, "ledger", "verify", "--json").json
    assert (report["generations"], report["entries"], report["in_flight"]) == (1, 1, 1)
    assert (report["held_microcredits"], report["findings"]) == (150_000, [])
    engine = create_engine(sync_url(database_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE quota_usage SET held_microcredits = 7 WHERE period = 'total'"))
    engine.dispose()
    wrong = reelgate.run(place, "ledger", "verify", expect=1)
    assert wrong.out.count("usage-is-not-the-sum-of-the-rows: ") == 4
    assert "held_microcredits is 7, the rows say 150000" in wrong.out
    assert "4 findings." in wrong.out


def test_a_bill_is_compared_with_the_books(place: Place, reelgate: Commands) -> None:
    bill = place.folder / "bill.csv"
    days = ("--from", "2026-01-01", "--to", "2026-01-31")
    bill.write_text("request_id,cost\n")
    assert "Bill and books agree." in reelgate.run(place, "ledger", "reconcile", str(bill), *days).out
    bill.write_text("id,usd\nnobodys,0.25\n")
    names = ("--id-column", "id", "--cost-column", "usd")
    differs = reelgate.run(place, "ledger", "reconcile", str(bill), *days, *names, "--json", expect=1)
    assert [one["rule"] for one in differs.json["differences"]] == ["billed-and-not-ours"]
    for arguments in (
        [str(bill), *days],
        [str(place.folder / "missing.csv"), *days],
        [str(bill), "--from", "2026-02-01", "--to", "2026-01-01"],
    ):
        refused = reelgate.run(place, "ledger", "reconcile", *arguments, expect=1)
        assert len(refused.err.splitlines()) == 1, refused.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["limits", "set", "speed=1", "--tenant", "acme"],
        ["limits", "set", "credits-day=a", "--tenant", "acme"],
        ["limits", "set", "in-flight=5/2", "--tenant", "acme"],
        ["limits", "set", "in-flight=5", "--tenant", "nobody"],
        ["limits", "set", "in-flight=5", "--tenant", "acme", "--key", "nosuchkid000"],
        ["limits", "set", "in-flight=5", "--tenant", "acme", "--model", "no/such"],
        ["limits", "list", "--tenant", "nobody"],
        ["ledger", "top-up", "0", "--tenant", "acme"],
        ["ledger", "top-up", "--tenant", "acme", "--", "-1"],
        ["ledger", "top-up", "0.0000001", "--tenant", "acme"],
        ["ledger", "adjust", "0", "--tenant", "acme", "--note", "x"],
        ["ledger", "list", "--tenant", "nobody"],
        ["tenants", "create", "other", "--time-zone", "Mars/Olympus"],
        ["tenants", "set-time-zone", "acme", "../etc/passwd"],
    ],
)
def test_a_wrong_command_about_money_is_refused_in_one_line(
    arguments: list[str], tmp_path: Path, sqlite_url: str, sandbox: Running, reelgate: Commands
) -> None:
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url)
    reelgate.run(place, "tenants", "create", "acme")
    refused = reelgate.run(place, *arguments, expect=1)
    assert len(refused.err.splitlines()) == 1, refused.err
    assert refused.err.startswith("reelgate: ")
    assert reelgate.run(place, "ledger", "list", "--json").json == []


def test_a_default_limit_that_cannot_be_understood_is_refused_at_the_start(
    tmp_path: Path, sqlite_url: str, sandbox: Running, reelgate: Commands
) -> None:
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url, DEFAULT_LIMITS="submits=5")
    refused = reelgate.run(place, "tenants", "list", expect=1)
    assert refused.err.startswith("reelgate: 'submits=5' is not METRIC=AMOUNT")
