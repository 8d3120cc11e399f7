"""Client tokens from the operator's side: limits of end users, what pages hold, and how to end it."""

import json
from pathlib import Path

import httpx2
import pytest

from tests.harness import SUBMIT
from tests.processes import Commands, Place, place_for, started
from tests.sandbox.harness import Running


@pytest.fixture
def place(tmp_path: Path, sqlite_url: str, sandbox: Running) -> Place:
    return place_for(tmp_path, sqlite_url, sandbox.options.public_url)


def test_a_page_is_limited_shown_and_ended_beside_a_running_server(
    place: Place, reelgate: Commands, sandbox: Running
) -> None:
    def run(*arguments: str) -> str:
        return reelgate.run(place, *arguments).out

    run("tenants", "create", "acme")
    scopes = ("--scope", "submit", "--scope", "read", "--scope", "tokens:create")
    key = run("keys", "create", "--tenant", "acme", "--test", "--quiet", *scopes).strip()
    of_each = ("--tenant", "acme", "--test", "--end-user", "*")
    assert "end-user-generations-day" in run("limits", "set", *of_each, "generations-day=1")
    assert "end-user-in-flight" in run(
        "limits", "set", "--tenant", "acme", "--test", "--end-user", "u1", "in-flight=5"
    )
    for wrong in (
        ("--end-user", "a b"),
        ("--end-user", ""),
        ("--end-user", "u", "--key", key.split("_")[2]),
    ):
        refused = reelgate.run(
            place, "limits", "set", "--tenant", "acme", "--test", *wrong, "in-flight=1", expect=1
        )
        assert refused.err.startswith("reelgate: ")
    limits = json.loads(run("limits", "list", "--json"))
    assert sorted((one["end_user"], one["metric"]) for one in limits) == [
        ("*", "generations-day"),
        ("u1", "in-flight"),
    ]
    with started(place):
        headers = {"Authorization": f"Bearer {key}"}
        with httpx2.Client(base_url=place.url, trust_env=False) as client:
            made = client.post("/v1/client-tokens", json={"end_user": "u1"}, headers=headers).json()
            page = {"Authorization": f"Bearer {made['token']}"}
            body = {"image_urls": [f"{sandbox.options.public_url}/samples/harbour.jpg"], "prompt": "x"}
            answers = [client.post(SUBMIT, json=body, headers=page) for _ in range(2)]
            assert [one.status_code for one in answers] == [200, 429]
            assert answers[1].json()["violated-policies"] == ["end-user-generations-day"]
            (listed,) = json.loads(run("client-tokens", "list", "--tenant", "acme", "--json"))
            assert (listed["token_id"], listed["refusals"]) == (made["token_id"], 1)
            assert len(run("client-tokens", "list", "--tenant", "acme").splitlines()) == 2
            assert len(run("client-tokens", "list", "--tenant", "acme", "--end-user", "u2").splitlines()) == 1
            shown = json.loads(run("client-tokens", "show", made["token_id"]))
            assert shown["newest_requests"] == [answers[0].json()["request_id"]]
            assert [one["code"] for one in shown["newest_refusals"]] == ["quota_exceeded"]
            assert shown["usage"]["held_microcredits"] == 150_000
            assert made["token"] not in json.dumps([listed, shown])
            assert run("client-tokens", "revoke", made["token_id"]) == f"Revoked {made['token_id']}.\n"
            missing = reelgate.run(place, "client-tokens", "revoke", "nosuchtoken0", expect=1)
            assert missing.err.startswith("reelgate: there is no client token")
    with started(place), httpx2.Client(base_url=place.url, trust_env=False) as client:
        problem = client.get("/v1/requests", headers=page).json()
        assert problem["code"] == "invalid_client_token"
    assert json.loads(run("ledger", "verify", "--json"))["findings"] == []


@pytest.mark.parametrize(
    ("kid", "level", "text"), [("A" * 12, "bad", "there is no such key"), (None, "", "")]
)
def test_the_doctor_knows_whose_credits_the_playground_spends(
    place: Place, reelgate: Commands, kid: str | None, level: str, text: str
) -> None:
    reelgate.run(place, "tenants", "create", "acme")
    asked = place.but(PLAYGROUND_KID=kid) if kid else place
    found = {
        one["name"]: one
        for one in json.loads(reelgate.run(asked, "doctor", "--json", expect=int(level == "bad")).out)
    }
    if kid is None:
        assert "playground" not in found
    else:
        assert found["playground"]["level"] == level
        assert text in found["playground"]["finding"]
    made = json.loads(reelgate.run(place, "keys", "create", "--tenant", "acme", "--test", "--json").out)
    checks = json.loads(reelgate.run(place.but(PLAYGROUND_KID=made["kid"]), "doctor", "--json").out)
    (check,) = [one for one in checks if one["name"] == "playground"]
    assert check["level"] == "good"
