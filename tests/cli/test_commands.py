"""The `reelgate` command beside a running server, and acting on it."""

import json
import time
from pathlib import Path

import httpx2

from app.db import revision
from tests.processes import Commands, Place, eventually, place_for, started
from tests.sandbox.harness import Running


def _status_with(place: Place, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx2.get(f"{place.url}/v1/models", headers=headers, trust_env=False).status_code


def test_tenants_and_keys_are_made_changed_and_ended_beside_a_running_server(
    tmp_path: Path, sandbox: Running, reelgate: Commands
) -> None:
    place = place_for(tmp_path, f"sqlite:///{tmp_path / 'new' / 'reelgate.db'}", sandbox.options.public_url)

    def run(*arguments: str) -> str:
        return reelgate.run(place, *arguments).out

    assert run("migrate") == f"The schema went from nothing to {revision.head()}.\n"
    assert "nothing to do" in run("migrate")
    with started(place):
        assert "reelgate keys create --tenant acme" in run("tenants", "create", "acme")
        other = run("tenants", "create", "Other Ltd.", "--quiet").strip()
        again = reelgate.run(place, "tenants", "create", "acme", expect=1)
        assert again.err == "reelgate: there is a tenant 'acme' already.\n"
        assert len(reelgate.run(place, "tenants", "create", "a/b", expect=1).err.splitlines()) == 1
        listed = json.loads(run("tenants", "list", "--json"))
        assert [(one["name"], one["disabled_at"]) for one in listed] == [("acme", None), ("Other Ltd.", None)]
        assert listed[1]["id"] == other
        assert len(run("tenants", "list").splitlines()) == 3

        quiet = run("keys", "create", "--tenant", "acme", "--test", "--quiet")
        assert quiet.startswith("rg_test_")
        assert quiet.count("\n") == 1
        made = json.loads(
            run("keys", "create", "--tenant", "acme", "--test", "--json", "--name", "n", "--scope", "read")
        )
        assert (made["mode"], made["scopes"], made["name"]) == ("test", ["read"], "n")
        spoken = reelgate.run(place, "keys", "create", "--tenant", "acme")
        assert spoken.out.startswith("rg_live_")
        assert spoken.out.count("\n") == 1
        assert "shown only once" in spoken.err
        for wrong in (
            ["keys", "create", "--tenant", "nobody"],
            ["keys", "create", "--tenant", "acme", "--scope", "everything"],
            ["keys", "create", "--tenant", "acme", "--model", "no/such"],
            ["keys", "rotate", "nosuchkid000"],
            ["keys", "revoke", "nosuchkid000"],
        ):
            refused = reelgate.run(place, *wrong, expect=1)
            assert len(refused.err.splitlines()) == 1, refused.err
            assert refused.err.startswith("reelgate: ")

        for days in ("0", "0.9"):
            reelgate.run(place, "keys", "create", "--tenant", "acme", "--expires-days", days, expect=2)

        key = quiet.strip()
        assert _status_with(place, key) == _status_with(place, made["key"]) == 200
        table = run("keys", "list")
        assert len(table.splitlines()) == 4
        documents = {one["kid"]: one for one in json.loads(run("keys", "list", "--tenant", "acme", "--json"))}
        assert len(documents) == 3
        assert json.loads(run("keys", "list", "--tenant", "Other Ltd.", "--json")) == []
        for text in (table, json.dumps(documents)):
            assert key[21:] not in text
            assert made["key"][21:] not in text

        kid = key.split("_")[2]
        assert kid in documents
        rotated = json.loads(run("keys", "rotate", kid, "--overlap-hours", "0", "--json"))
        assert rotated["replaces"] == kid
        assert _status_with(place, rotated["key"]) == 200
        _ends_within_five_seconds(place, key)
        assert run("keys", "revoke", made["kid"]) == f"Revoked {made['kid']}.\n"
        _ends_within_five_seconds(place, made["key"])
        assert _status_with(place, rotated["key"]) == 200
        states = {one["kid"]: one["state"] for one in json.loads(run("keys", "list", "--json"))}
        assert (states[kid], states[made["kid"]]) == ("expired", "revoked")


def _ends_within_five_seconds(place: Place, key: str) -> None:
    started_s = time.monotonic()
    eventually(lambda: _status_with(place, key) == 401)
    assert time.monotonic() - started_s < 5


def test_doctor_finds_nothing_bad_beside_a_running_server_and_names_what_is(
    tmp_path: Path, sqlite_url: str, sandbox: Running, reelgate: Commands
) -> None:
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url)
    with started(place):
        found = {one["name"]: one for one in reelgate.run(place, "doctor", "--json").json}
    assert [found[name]["level"] for name in ("pepper", "database", "sandbox")] == ["good"] * 3
    assert found["upstream"]["level"] == "note"
    ill = place.but(
        PEPPER="weak",
        DATABASE_URL=f"sqlite:///{tmp_path / 'none.db'}",
        UPSTREAM_BASE_URL=sandbox.options.public_url,
        UPSTREAM_TOKEN="not-the-sandboxes-token",
    )
    ended = reelgate.run(ill, "doctor", "--json", expect=1)
    levels = {one["name"]: one["level"] for one in ended.json}
    assert [levels[name] for name in ("pepper", "database", "upstream")] == ["bad"] * 3
    assert not (tmp_path / "none.db").exists(), "a doctor changes nothing"
    plain = reelgate.run(ill, "doctor", expect=1)
    assert "not the sandbox's token" not in plain.out + plain.err + ended.out
    assert "Traceback" not in plain.err


def test_doctor_survives_whatever_it_finds(tmp_path: Path, sandbox: Running, reelgate: Commands) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"this is not a database\n" * 400)
    for url in (f"sqlite:///{garbage}", "postgresql://u:p@127.0.0.1:1/x"):
        place = place_for(tmp_path, url, sandbox.options.public_url)
        ended = reelgate.run(place, "doctor", "--json", expect=1)
        assert {one["name"]: one["level"] for one in ended.json}["database"] == "bad"
        assert "Traceback" not in ended.err


def test_openapi_needs_no_database_and_writes_what_it_prints(tmp_path: Path, reelgate: Commands) -> None:
    place = Place(tmp_path, {"DATA_DIR": str(tmp_path / "never")})
    printed = reelgate.run(place, "openapi")
    assert printed.json["openapi"].startswith("3.")
    assert printed.err == ""
    reelgate.run(place, "openapi", "--output", "contract.json")
    assert (tmp_path / "contract.json").read_text() == printed.out
    assert not (tmp_path / "never").exists()
