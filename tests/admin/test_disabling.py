"""Disabling a tenant beside a running server: what is refused, what goes on, and what comes back."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.harness import SUBMIT
from tests.patience import PATIENCE_S
from tests.processes import Commands, Place, Process, eventually, place_for, started
from tests.sandbox.harness import Running

PROMISED_S = 5
ORIGIN = "https://app.example"


@pytest.fixture
def place(tmp_path: Path, database_url: str, sandbox: Running) -> Place:
    return place_for(tmp_path, database_url, sandbox.options.public_url)


@dataclass
class Shop:
    """A running server with two tenants, one of which has a job that was sent and one that waits."""

    place: Place
    reelgate: Commands
    client: httpx2.Client
    sandbox: Running
    key: str = ""
    token: str = ""
    neighbour: str = ""
    sent: str = ""
    queued: str = ""

    def run(self, *arguments: str) -> str:
        return self.reelgate.run(self.place, *arguments).out

    def open(self) -> None:
        self.run("tenants", "create", "acme")
        self.run("tenants", "create", "other")
        scopes = ("--scope", "submit", "--scope", "read", "--scope", "tokens:create")
        self.key = self.run("keys", "create", "--tenant", "acme", "--test", "--quiet", *scopes).strip()
        self.neighbour = self.run("keys", "create", "--tenant", "other", "--test", "--quiet").strip()
        self.run("tenants", "set-queueing", "acme", "on")
        self.run("tenants", "set-origins", "acme", ORIGIN)
        self.run("limits", "set", "in-flight=1", "--tenant", "acme", "--test")

    def serve(self) -> AbstractContextManager[Process]:
        return started(self.place.but(PLAYGROUND_KID=self.key.split("_")[2]))

    def begin(self) -> None:
        minted = self.client.post("/v1/client-tokens", json={}, headers=with_key(self.key))
        self.token = minted.json()["token"]
        self.sent, self.queued = self.submit(self.token), self.submit(self.key)
        assert [self.state_of(self.sent), self.state_of(self.queued)] == ["in_queue", "accepted"]
        assert [self.code(one) for one in (self.key, self.token, self.neighbour)] == [None] * 3

    def submit(self, key: str) -> str:
        picture = f"{self.sandbox.options.public_url}/samples/harbour.jpg"
        body = {"image_urls": [picture], "prompt": "[sandbox:canned]"}
        answer = self.client.post(SUBMIT, json=body, headers=with_key(key))
        assert answer.status_code == 200, answer.text
        request_id: str = answer.json()["request_id"]
        return request_id

    def code(self, key: str) -> str | None:
        """The code with which a key or a token is refused; None where it is taken."""
        document: dict[str, Any] = self.client.get("/v1/requests", headers=with_key(key)).json()
        return document.get("code")

    def state_of(self, request_id: str) -> str:
        state: str = json.loads(self.run("requests", "show", request_id))["state"]
        return state

    def page(self) -> tuple[int, int]:
        """How a preflight of the tenant's origin is answered, and how the playground's page gets a token."""
        preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
        session, own = {"session": "0" * 32}, {"Origin": self.place.url}
        return (
            self.client.options("/v1/requests", headers=preflight).status_code,
            self.client.post("/playground/token", json=session, headers=own).status_code,
        )

    def watch(self, path: str, key: str) -> threading.Event:
        """An event that is set when an event stream of the tenant's has ended."""
        opened, ended = threading.Event(), threading.Event()

        def read() -> None:
            with self.client.stream("GET", path, headers=with_key(key)) as stream:
                for _ in stream.iter_raw():
                    opened.set()
            ended.set()

        threading.Thread(target=read, daemon=True).start()
        assert opened.wait(PATIENCE_S)
        return ended

    def pass_time(self) -> None:
        self.sandbox.clock.now += self.sandbox.options.queue_s + self.sandbox.options.run_s


@pytest.fixture
def shop(place: Place, reelgate: Commands, sandbox: Running) -> Iterator[Shop]:
    with httpx2.Client(base_url=place.url, trust_env=False, timeout=PATIENCE_S) as client:
        yield Shop(place, reelgate, client, sandbox)


def with_key(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_disabled_tenant_is_shut_out_and_comes_back(shop: Shop) -> None:
    shop.open()
    with shop.serve():
        shop.begin()
        tenants = shop.watch("/v1/events", shop.key)
        tokens = shop.watch(f"/v1/requests/{shop.sent}/events", shop.token)
        assert shop.page() == (204, 201)
        shop.run("tenants", "disable", "acme", "--reason", "unpaid")
        _is_shut_out(shop)
        for ended in (tenants, tokens):
            assert ended.wait(PROMISED_S + 3), "a stream outlives its tenant's right"
        _what_was_sent_goes_on_and_what_waits_stays(shop)
        shop.run("tenants", "enable", "acme")
        _comes_back(shop)
    assert "The ledger is consistent." in shop.run("ledger", "verify")


def _is_shut_out(shop: Shop) -> None:
    began_s = time.monotonic()
    eventually(lambda: shop.code(shop.key) == "invalid_api_key")
    eventually(lambda: shop.code(shop.token) == "invalid_client_token")
    eventually(lambda: shop.page() == (403, 404))
    assert time.monotonic() - began_s < PROMISED_S
    assert shop.code(shop.neighbour) is None
    submitted = shop.client.post(SUBMIT, json={}, headers=with_key(shop.key))
    assert (submitted.status_code, submitted.json()["code"]) == (401, "invalid_api_key")


def _what_was_sent_goes_on_and_what_waits_stays(shop: Shop) -> None:
    shop.pass_time()
    eventually(lambda: shop.state_of(shop.sent) == "completed")
    time.sleep(2.5)  # its place is free: two ticks of the dispatch loop, and more
    assert shop.state_of(shop.queued) == "accepted"
    assert json.loads(shop.run("requests", "show", shop.sent))["charge"] == "settled"
    (queue,) = json.loads(shop.run("dispatch", "status", "--json"))["queues"]
    assert (queue["disabled"], queue["paused"], queue["share"], queue["queued"]) == (True, False, 0, 1)
    assert "disabled" in shop.run("dispatch", "status")
    assert json.loads(shop.run("tenants", "list", "--json"))[0]["disabled_at"] is not None


def _comes_back(shop: Shop) -> None:
    began_s = time.monotonic()
    eventually(lambda: shop.code(shop.key) is None)
    eventually(lambda: shop.code(shop.token) is None)
    eventually(lambda: shop.page() == (204, 201))
    assert time.monotonic() - began_s < PROMISED_S
    eventually(lambda: shop.state_of(shop.queued) == "in_queue")
    shop.pass_time()
    eventually(lambda: shop.state_of(shop.queued) == "completed")
