"""Limits, balances and the books from the command line, beside a running server."""

import itertools
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import create_engine, text

from app.db.engines.engine import sync_url
from tests.harness import MORE_MODELS, SUBMIT
from tests.patience import PATIENCE_S
from tests.processes import Commands, Place, place_for, started
from tests.sandbox.harness import DREAMINA, Running

AUDIO = "bytedance/seed-audio-1.0/text-to-audio"


@pytest.fixture
def place(tmp_path: Path, database_url: str, sandbox: Running) -> Place:
    return place_for(tmp_path, database_url, sandbox.options.public_url)


def _key(reelgate: Commands, place: Place, *more: str) -> str:
    return reelgate.run(place, "keys", "create", "--tenant", "acme", "--test", "--quiet", *more).out.strip()


def _submit(place: Place, key: str, sandbox: Running) -> httpx2.Response:
    body = {"image_urls": [f"{sandbox.options.public_url}/samples/harbour.jpg"], "prompt": "[sandbox:queued]"}
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.post(
        f"{place.url}{SUBMIT}", json=body, headers=headers, trust_env=False, timeout=PATIENCE_S
    )


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
        removed = reelgate.run(place, "limits", "unset", "generations-day", "credits-month", *of_acme)
        assert removed.out.startswith("Removed: generations-day, credits-month.\n")
        assert "prepaid" not in removed.out
        assert _submit(place, key, sandbox).status_code == 200
    missing = reelgate.run(place, "limits", "unset", "generations-day", *of_acme, expect=1)
    assert missing.err == "reelgate: there was no such limit: generations-day; nothing was removed.\n"


def test_a_limit_on_seconds_names_the_models_that_it_refuses(
    place: Place, reelgate: Commands, tmp_path: Path
) -> None:
    for name, seconds in (("silent", {}), ("loud", {"output_seconds": 3})):
        file = tmp_path / "models" / "maker" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            json.dumps({"input_schema": {}, "pricing": {"version": "1", "free": True}, **seconds})
        )
    place = place.but(CATALOG_DIR=str(tmp_path / "models"))
    reelgate.run(place, "tenants", "create", "acme")
    shown = reelgate.run(place, "limits", "set", "output-seconds-day=600", "--tenant", "acme").out
    row, warning = shown.splitlines()[-2:]
    assert row.split()[:2] == ["tenant-output-seconds-day", "600"]
    assert warning.endswith("do not declare output_seconds: maker/silent.")
    for text_, *more in (("output-seconds-day=none",), ("output-seconds-day=5", "--model", "maker/loud")):
        shown = reelgate.run(place, "limits", "set", text_, "--tenant", "acme", *more).out
        assert "output_seconds" not in shown
    with started(place.but(DEFAULT_LIMITS="output-seconds-total=9")) as server:
        server.until_ready()
        assert "models that declare no output_seconds" in server.text()
        assert "maker/silent" in server.text()


def test_limits_are_changed_all_or_none(place: Place, reelgate: Commands) -> None:
    reelgate.run(place, "tenants", "create", "acme")
    reelgate.run(place, "tenants", "create", "other")
    reelgate.run(place, "limits", "set", "in-flight=5", "--tenant", "acme")
    reelgate.run(place, "limits", "set", "in-flight=6", "--tenant", "other")

    def amounts() -> dict[str, int]:
        listed = reelgate.run(place, "limits", "list", "--tenant", "acme", "--json").json
        return {one["metric"]: one["amount"] for one in listed}

    for wrong in (
        ["unset", "in-flight", "credits-day"],
        ["unset", "in-flight", "in-flight"],
        ["set", "in-flight=1", "in-flight=2"],
        ["set", "in-flight=1", "speed=2"],
    ):
        assert reelgate.run(place, "limits", *wrong, "--tenant", "acme", expect=1).err.startswith(
            "reelgate: "
        )
        assert amounts() == {"in-flight": 5}


def test_what_a_model_has_stays_within_reach_when_it_has_left_the_catalogue(
    place: Place, reelgate: Commands
) -> None:
    of_audio = ("--tenant", "acme", "--model", AUDIO)
    reelgate.run(place, "tenants", "create", "acme")
    with_model = place.but(CATALOG_DIR=str(MORE_MODELS))
    reelgate.run(with_model, "limits", "set", "in-flight=1", *of_audio)
    reelgate.run(with_model, "ledger", "top-up", "5", *of_audio)
    reelgate.run(place, "limits", "set", "in-flight=2", *of_audio, expect=1)
    reelgate.run(place, "ledger", "top-up", "5", *of_audio, expect=1)
    adjusted = reelgate.run(place, "ledger", "adjust", *of_audio, "--note", "gone", "--", "-5").out
    assert "tenant-model-credits-total" in adjusted
    assert reelgate.run(place, "limits", "unset", "in-flight", *of_audio).out.startswith(
        "Removed: in-flight."
    )


def test_a_top_up_adds_to_the_settings_default(place: Place, reelgate: Commands) -> None:
    reelgate.run(place, "tenants", "create", "acme")
    generous = place.but(DEFAULT_LIMITS="credits-total=50")
    topped_up = reelgate.run(generous, "ledger", "top-up", "10", "--tenant", "acme")
    assert topped_up.out.splitlines()[-1].split()[:2] == ["tenant-credits-total", "60"]
    # What was paid in stays prepaid when the default goes.
    listed = reelgate.run(place, "limits", "list", "--json").json
    assert [(one["metric"], one["amount"], one["standing"]["limit"]) for one in listed] == [
        ("credits-total", 50_000_000, 60_000_000)
    ]


def test_a_balance_that_binds_nobody_and_one_below_nothing_are_called_so(
    place: Place, reelgate: Commands
) -> None:
    reelgate.run(place, "tenants", "create", "acme")
    not_prepaid = "Not prepaid:"
    take_away = ("ledger", "adjust", "--tenant", "acme", "--note", "x", "--", "-3.85")
    assert not_prepaid in reelgate.run(place, *take_away).out
    assert not_prepaid not in reelgate.run(place.but(DEFAULT_LIMITS="credits-total=1"), *take_away).out
    reelgate.run(place, "limits", "set", "credits-total=0", "--tenant", "acme")
    row = reelgate.run(place, "limits", "list").out.splitlines()[-1].split()
    assert row[5:10] == ["credits-total", "-7.7", "0", "0", "-7.7"]
    assert not_prepaid in reelgate.run(place, "limits", "unset", "credits-total", "--tenant", "acme").out


def test_references_count_once_for_a_kind_of_entry_and_a_kind_of_key(
    place: Place, reelgate: Commands
) -> None:
    reelgate.run(place, "tenants", "create", "acme")
    more = ("--tenant", "acme", "--reference", " INVOICE-1 ", "--note", " x ")
    for command, of in itertools.product(("top-up", "adjust"), ((), ("--test",))):
        assert "Entered" in reelgate.run(place, "ledger", command, "1", *more, *of).out
        assert "exists already" in reelgate.run(place, "ledger", command, "1", *more, *of).out
    listed = reelgate.run(place, "ledger", "list", "--json").json
    assert [(one["reference"], one["note"]) for one in listed] == [("INVOICE-1", "x")] * 4


def test_test_keys_and_live_keys_are_not_mistaken_for_one_another(place: Place, reelgate: Commands) -> None:
    reelgate.run(place, "tenants", "create", "acme")
    live = reelgate.run(place, "keys", "create", "--tenant", "acme", "--json").json["kid"]
    test = _key(reelgate, place).split("_")[2]
    of_live = ("--tenant", "acme", "--key", live)
    refused = reelgate.run(place, "limits", "set", "in-flight=1", *of_live, "--test", expect=1)
    assert refused.err == f"reelgate: {live} is a live key, but --test names an account of test keys.\n"
    reelgate.run(place, "ledger", "top-up", "1", *of_live, "--test", expect=1)
    reelgate.run(place, "limits", "set", "in-flight=1", *of_live)
    reelgate.run(place, "limits", "set", "in-flight=1", "--tenant", "acme", "--key", test)
    listed = reelgate.run(place, "limits", "list", "--json").json
    assert {(one["kid"], one["mode"]) for one in listed} == {(live, "live"), (test, "test")}


def test_requests_are_shown_with_tenant_price_and_terms(
    place: Place, reelgate: Commands, sandbox: Running
) -> None:
    reelgate.run(place, "tenants", "create", "Acme Ltd.")
    key = reelgate.run(place, "keys", "create", "--tenant", "Acme Ltd.", "--test", "--quiet").out.strip()
    with started(place):
        request_id = _submit(place, key, sandbox).json()["request_id"]
    table = reelgate.run(place, "requests", "list").out
    assert table.split()[:6] == ["REQUEST", "TENANT", "STATE", "MODE", "PRICE", "CHARGE"]
    assert "Acme Ltd." in table
    assert " 0.15 " in table
    assert " held " in table
    shown = reelgate.run(place, "requests", "show", request_id).json
    assert (shown["tenant"], shown["price_version"]) == ("Acme Ltd.", "example-1")
    assert (shown["settles_in"], shown["checked_at"]) == (["completed"], None)
    assert reelgate.run(place, "requests", "list", "--json").json[0]["tenant"] == "Acme Ltd."
    entries = reelgate.run(place, "ledger", "list", "--request", request_id, "--tenant", "Acme Ltd.").out
    assert "BALANCE CHANGE" in entries
    assert " -0.15 " in entries


def test_a_prepaid_balance_is_topped_up_once_for_a_reference_and_adjusted_with_a_reason(
    place: Place, reelgate: Commands, sandbox: Running
) -> None:
    reelgate.run(place, "tenants", "create", "acme")
    key = _key(reelgate, place)
    of_acme = ("--tenant", "acme", "--test")
    top_up = ("ledger", "top-up", "0.3", *of_acme, "--reference", "INVOICE-1", "--note", "first")
    assert "Entered: top-up of 0.3 credits." in reelgate.run(place, *top_up).out
    assert "exists already" in reelgate.run(place, *top_up).out
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
        assert "The ledger is consistent." in reelgate.run(place, "ledger", "verify").out
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
    assert (
        "The bill and the ledger agree." in reelgate.run(place, "ledger", "reconcile", str(bill), *days).out
    )
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
        ["ledger", "adjust", "1", "--tenant", "acme", "--note", " "],
        ["ledger", "adjust", "1", "--tenant", "acme", "--note", "x", "--reference", ""],
        ["ledger", "top-up", "1", "--tenant", "acme", "--reference", " "],
        ["ledger", "list", "--tenant", "nobody"],
        ["ledger", "list", "--request", "nope"],
        ["limits", "unset", "reads-minute", "--tenant", "acme"],
        ["limits", "unset", "speed", "--tenant", "acme"],
        ["tenants", "create", "other", "--time-zone", "Mars/Olympus"],
        ["tenants", "set-time-zone", "acme", "../etc/passwd"],
        ["tenants", "set-time-zone", "acme", "localtime"],
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
