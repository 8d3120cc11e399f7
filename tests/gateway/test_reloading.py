"""Settings that a running gateway takes over, as a whole or not at all."""

import asyncio
import logging
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app import settings_file
from app.config import Settings, SettingsError
from app.db import processes
from app.db.processes import Process
from app.kit import log
from app.reloading import reload
from app.upstream import credentials as credential_rows
from app.upstream.breaker import Health
from tests.harness import SUBMIT, World
from tests.processes import Commands, eventually, place_for, started
from tests.sandbox.harness import TOKEN, Running

pytestmark = pytest.mark.anyio


def credentials(*tokens: tuple[str, str], weight: int = 1) -> dict[str, Any]:
    listed = ",".join(
        f'{{"name": "{name}", "token": "{token}", "weight": {weight}}}' for name, token in tokens
    )
    return {"upstream_credentials": SecretStr(f"[{listed}]"), "upstream_token": None}


@pytest.fixture
def world_settings(live_sandbox: Running, sandbox: Running) -> dict[str, Any]:
    return {
        "upstream_base_url": live_sandbox.options.public_url,
        "http_media_hosts": [sandbox.options.public_url.removeprefix("http://")],
        **credentials(("one", "a-token-that-is-refused")),
    }


async def to(world: World, **changes: Any) -> str | None:
    return await reload(world.gateway, lambda: world.gateway.settings.model_copy(update=changes))


async def beat(world: World) -> Process:
    now_ms = world.clock.now_ms()
    [one] = await world.gateway.db.read(processes.alive, now_ms=now_ms)
    return one


async def test_a_new_token_is_used_for_the_next_submit_and_a_paused_credential_begins_anew(
    world: World, live_sandbox: Running
) -> None:
    key = await world.another_key(mode="live")
    headers = world.with_key(key)
    pool = world.gateway.pool
    refused = await world.client.post(SUBMIT, json=world.body(), headers=headers)
    assert refused.status_code in {502, 503}
    assert not pool.all["one"].health.may_submit
    assert await to(world, **credentials(("one", TOKEN), weight=7)) is None
    assert (pool.all["one"].health, pool.all["one"].weight) == (Health(), 7)
    client = pool.all["one"].upstream
    answer = await world.client.post(SUBMIT, json=world.body(), headers=headers)
    assert answer.status_code == 200, answer.text
    assert await to(world, **credentials(("one", TOKEN))) is None
    assert pool.all["one"].upstream is client, "its connections are kept where the token is the same"


async def test_a_credential_that_is_added_is_used_and_followed_and_one_that_is_removed_is_only_followed(
    world: World,
) -> None:
    gateway = world.gateway
    told: list[str] = []
    gateway.following.on_poller.append(lambda poller: told.append(poller.credential.name))
    assert await to(world, **credentials(("two", TOKEN))) is None
    assert [one.name for one in gateway.pool.usable("live")] == ["two"]
    assert gateway.pool.of("one") is not None, "its jobs are followed to their end"
    assert told == ["two"]
    assert "two" in [poller.credential.name for poller in gateway.following.pollers]
    assert await to(world, upstream_credentials=None) is None
    assert not gateway.pool.has("live")


async def test_default_limits_hold_for_the_next_submit(world: World) -> None:
    assert await to(world, default_limits=["generations-total=1"]) is None
    await world.submitted()
    assert (await world.submit()).status_code == 429
    assert await to(world, default_limits=["generations-total=2"]) is None
    await world.submitted()


async def test_the_level_of_the_log_follows(world: World) -> None:
    before = logging.getLogger().level
    try:
        assert await to(world, log_level="ERROR") is None
        assert log._set_up.level == logging.getLogger().level == logging.ERROR
    finally:
        log.set_level(logging.getLevelName(before))


async def test_of_two_reloads_at_once_what_was_read_last_holds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is held while it stores a new credential: the second waits for it."""
    save, held, go = credential_rows.save, threading.Event(), threading.Event()

    def save_slowly(*arguments: Any, **more: Any) -> None:
        held.set()
        assert go.wait(20)
        save(*arguments, **more)

    monkeypatch.setattr(credential_rows, "save", save_slowly)
    first = asyncio.create_task(to(world, **credentials(("two", TOKEN)), default_limits=[]))
    assert await asyncio.to_thread(held.wait, 20)
    second = asyncio.create_task(to(world, default_limits=["generations-total=1"], upstream_credentials=None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    go.set()
    assert {*await asyncio.gather(first, second)} == {None}
    assert len(world.gateway.policy.default_limits) == 1
    assert world.gateway.pool.usable("live") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"default_limits": ["submits-minute=many"]}, "submits-minute"),
        (None, "REELGATE_PORT: Input should be"),
        (SettingsError("REELGATE_PEPPER is weak"), "is weak"),
    ],
)
async def test_settings_with_a_fault_change_nothing_and_it_is_told(
    world: World, changes: Any, words: str
) -> None:
    gateway = world.gateway
    policy, settings, known = gateway.policy.default_limits, gateway.settings, dict(gateway.pool.all)

    def read() -> Settings:
        if isinstance(changes, Exception):
            raise changes
        if changes is None:
            return Settings(_env_file=None, port=0)
        return settings.model_copy(update=credentials(("three", TOKEN)) | changes)

    fault = await reload(gateway, read)
    assert fault is not None
    assert words in fault
    assert (gateway.policy.default_limits, gateway.settings, dict(gateway.pool.all)) == (
        policy,
        settings,
        known,
    )
    assert (await beat(world)).settings_fault == fault
    world.clock.advance(1)
    assert await to(world) is None
    one = await beat(world)
    assert (one.settings_fault, one.settings_at_ms) == (None, world.clock.now_ms())


async def test_a_settings_file_that_is_being_written_is_taken_over_once_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "reelgate.toml"
    monkeypatch.setenv(settings_file.VARIABLE, str(file))
    parts = iter(["freshness_s = 3\n", "default_limits = [", '"generations-total=1"]\n'])

    async def written_meanwhile(_: float) -> None:
        with file.open("a") as opened:
            opened.write(next(parts, ""))

    file.write_text("")
    await settings_file.settled(written_meanwhile)
    assert settings_file.values()["default_limits"] == ["generations-total=1"]

    async def never_whole(_: float) -> None:
        file.write_text(file.read_text() + "\n")

    with pytest.raises(ValueError, match="is being written all the time"):
        await settings_file.settled(never_whole)


async def test_what_needs_a_restart_stays_as_it_was(world: World) -> None:
    before = world.gateway.settings
    assert await to(world, freshness_s=9, log_level=before.log_level) is None
    assert world.gateway.settings.freshness_s == before.freshness_s


def test_a_server_reloads_when_it_is_told_to_and_says_what_is_wrong(
    sqlite_url: str, tmp_path: Path, sandbox: Running, reelgate: Commands
) -> None:
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url)
    file = tmp_path / "reelgate.toml"
    assert "no server or worker runs" in reelgate.run(place, "reload", expect=1).err
    with started(place) as server:
        file.write_text('log_level = "ERROR"\n')
        assert "reloaded.\n" in eventually(lambda: reelgate.run(place, "reload", expect=None).out)
        shown = {one["setting"]: one for one in reelgate.run(place, "config", "show", "--json").json}
        assert shown["REELGATE_LOG_LEVEL"] == {
            "setting": "REELGATE_LOG_LEVEL",
            "value": "ERROR",
            "origin": "reelgate.toml",
            "reloads": True,
        }
        assert shown["REELGATE_PEPPER"]["value"] == "(set)"
        file.write_text('default_limits = ["submits-minute=many"]\n')
        assert "submits-minute" in reelgate.run(place, "reload", expect=1).err
        assert "submits-minute" in reelgate.run(place, "config", "check", expect=1).err
        file.write_text("port = \n")
        server.send(signal.SIGHUP)
        eventually(lambda: "is no TOML" in server.text())
        file.write_text("")
        server.send(signal.SIGHUP)
        assert server.process.poll() is None
        assert "good" in reelgate.run(place, "config", "check").out
