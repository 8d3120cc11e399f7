"""The Python library against a served gateway and sandbox: what it follows, cancels, downloads and prints."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from reelgate_client import (
    AsyncReelgate,
    AuthenticationFailed,
    Conflict,
    InvalidInput,
    NoGateway,
    NotFound,
    OutcomeUnknown,
    Progress,
    Reelgate,
    RequestCancelled,
    RequestFailed,
    WaitTimeout,
)
from reelgate_client._sync import following

from tests.clients.conftest import Stack
from tests.clients.histories import BRISK
from tests.clients.relay import relaying
from tests.patience import PATIENCE_S
from tests.pictures import png
from tests.processes import bare_environment
from tests.sandbox.harness import TOKEN

MODEL = "bytedance/dreamina-3-0/image-to-video"


@contextmanager
def library(url: str, key: str, **more: Any) -> Iterator[Reelgate]:
    with httpx2.Client(trust_env=False) as http:
        yield Reelgate(key, url, http=http, retries=BRISK, **more)


def test_a_request_can_be_followed_again_by_its_id_from_any_event_on(stack: Stack, mark: str) -> None:
    with library(stack.url, stack.key) as client:
        handle = client.submit(MODEL, stack.input(mark))
        seen = list(client.handle(handle.id).events())
        assert [one["version"] for one in seen] == list(range(1, len(seen) + 1))
        assert [one["final"] for one in seen] == [False] * (len(seen) - 1) + [True]
        assert list(handle.events(after=2)) == seen[2:]
        assert list(handle.events(after=len(seen))) == []
        assert handle.record()["state"] == "completed"
        assert handle.result(include_cost=True)["cost"] >= 0
        with pytest.raises(Conflict):
            handle.cancel(strict=True)


def test_a_file_is_uploaded_as_it_is_read_and_stands_in_an_input_by_its_reference(
    stack: Stack, mark: str, tmp_path: Path
) -> None:
    path, told = tmp_path / "a boat.png", []
    path.write_bytes(png(640, 480, size_bytes=600_000))
    with library(stack.url, stack.key) as client:
        file = client.upload_file(path, model=MODEL, on_bytes=lambda *seen: told.append(seen))
        assert (file["name"], file["bytes"], file["width"]) == ("a boat.png", 600_000, 640)
        assert told[-1] == (600_000, 600_000)
        assert client.upload_file(path.read_bytes())["file_id"] == file["file_id"]
        asked = stack.input(mark) | {"image_urls": [file["reference"]]}
        handle = client.submit(MODEL, asked)
        assert handle.wait()["status"] == "succeeded"
        assert handle.record()["input"]["image_urls"] == [file["reference"]]
        client.delete_file(file["file_id"])
        with pytest.raises(InvalidInput):
            client.upload_file(b"<html>", model=MODEL)


@pytest.mark.anyio
async def test_an_upload_that_is_cancelled_leaves_nothing(stack: Stack, mark: str, tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(640, 480, size_bytes=60_000_000) + mark.encode())
    async with httpx2.AsyncClient(trust_env=False) as http:
        client = AsyncReelgate(stack.key, stack.url, http=http, retries=BRISK)
        begun = asyncio.Event()
        task = asyncio.create_task(client.upload_file(path, name=mark, on_bytes=lambda *_: begun.set()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        listed = await http.get(f"{stack.url}/v1/files", headers={"Authorization": f"Bearer {stack.key}"})
        assert mark not in [one["name"] for one in listed.json()["files"]]


def test_where_no_stream_gets_through_answers_are_held_instead(
    stack: Stack, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_FIRST_S", 0.02)
    stack.relay.fail(*["bad-gateway"] * 50, only="/events$")
    told: list[Progress] = []
    with library(stack.url, stack.key) as client:
        assert client.run(MODEL, stack.input(mark), on_progress=told.append)["status"] == "succeeded"
    assert [one.state for one in told][-1] == "completed"
    calls = [call for call, _ in stack.relay.met]
    assert sum(one.endswith("/status") for one in calls) >= 1


@pytest.mark.parametrize("asked", [False, True])
def test_who_stops_waiting_cancels_only_when_asked(stack: Stack, mark: str, asked: bool) -> None:
    async def run() -> str:
        known: list[str] = []
        accepted = asyncio.Event()

        def note(one: Progress) -> None:
            known.append(one.request_id)
            accepted.set()

        async with (
            httpx2.AsyncClient(trust_env=False) as http,
            AsyncReelgate(stack.key, stack.url, http=http) as client,
        ):
            task = asyncio.create_task(
                client.run(
                    MODEL,
                    stack.input(mark, "queued"),
                    on_progress=note,
                    cancel_on_abandon=asked,
                )
            )
            await accepted.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return known[0]

    request_id = asyncio.run(run())
    with library(stack.url, stack.key) as client:
        assert (client.record(request_id)["state"] == "cancelled") is asked
        client.cancel(request_id)
        with pytest.raises(RequestCancelled) as ended:
            client.wait(request_id)
        assert ended.value.request_id == request_id


def test_a_wait_ends_in_time_and_the_request_goes_on(stack: Stack, mark: str) -> None:
    with library(stack.url, stack.key) as client:
        handle = client.submit(MODEL, stack.input(mark, "queued"))
        began_s = time.monotonic()
        with pytest.raises(WaitTimeout) as ended:
            handle.wait(timeout_s=0.3)
        assert time.monotonic() - began_s < 10
        assert isinstance(ended.value, TimeoutError)
        assert ended.value.request_id == handle.id
        assert handle.status()["status"] == "in_queue"
        with pytest.raises(WaitTimeout):
            handle.wait(timeout_s=0.1, cancel_on_abandon=True)
        assert handle.status()["status"] == "cancelled"


def test_failures_are_typed_and_tell_their_request(stack: Stack, mark: str) -> None:
    with library(stack.url, stack.key) as client:
        with pytest.raises(RequestFailed) as failed:
            client.run(MODEL, stack.input(mark, "fail"))
        assert failed.value.result["status"] == "failed"
        with pytest.raises(InvalidInput) as wrong:
            client.submit(MODEL, {"prompt": 5})
        assert {one["pointer"] for one in wrong.value.errors} >= {"#/prompt"}
        with pytest.raises(NotFound):
            client.wait("01a2b3c4-0000-7000-8000-000000000000")
    with library(stack.url, "rg_test_wrong") as client, pytest.raises(AuthenticationFailed):
        client.submit(MODEL, {})


def test_runcomfy_itself_is_served_as_far_as_it_goes(
    stack: Stack, mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_FIRST_S", 0.02)
    told: list[Progress] = []
    with library(stack.sandbox.options.public_url, TOKEN) as client:
        result = client.run(MODEL, stack.input(mark), on_progress=told.append)
        assert result["status"] == "succeeded"
        assert told[-1].final
        assert client.download(result, tmp_path / "clip.mp4").size_bytes > 1000
        assert client.models(limit=1)["models"]
        handle = client.submit(MODEL, stack.input(mark, "queued"))
        assert handle.cancel()["outcome"] == "cancelled"
        with pytest.raises(RequestCancelled):
            handle.wait()
        with pytest.raises(NoGateway):
            next(handle.events())
        with pytest.raises(NotFound):
            client.status("unknown")
    with library(stack.sandbox.options.public_url, "wrong") as client, pytest.raises(AuthenticationFailed):
        client.submit(MODEL, {})


def test_a_lost_answer_of_runcomfy_itself_is_never_asked_for_by_another_submit(
    stack: Stack, mark: str
) -> None:
    with relaying(stack.sandbox.options.public_url) as relay, library(relay.url, TOKEN) as client:
        relay.fail("cut-after", only="^POST ")
        with pytest.raises(OutcomeUnknown):
            client.submit(MODEL, stack.input(mark))
        assert stack.received(mark) == 1
        relay.fail("refuse", only="^POST ")  # the same to the client: it cannot know
        with pytest.raises(OutcomeUnknown):
            client.submit(MODEL, stack.input(f"{mark}-2"))


def test_a_file_is_whole_after_any_break_of_the_wire(stack: Stack, mark: str, tmp_path: Path) -> None:
    with library(stack.url, stack.key) as client:
        output = client.run(MODEL, stack.input(mark))["output"]
        assert output is not None
        url = str(output["video"])
        whole = httpx2.get(url, trust_env=False).content
        with relaying(stack.sandbox.options.public_url) as relay:
            relay.fail("cut-half", "reset", "cut-half", "bad-gateway", "cut-half")
            near = url.replace(stack.sandbox.options.public_url, relay.url)
            heard: list[int] = []
            done = client.download(near, tmp_path / "clip.mp4", on_bytes=lambda here, _: heard.append(here))
            assert len(relay.met) == 6
        assert done.path.read_bytes() == whole
        assert heard == sorted(heard)


def _command(stack: Stack, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {"REELGATE_URL": stack.url, "REELGATE_KEY": stack.key, "NO_PROXY": "*"}
    return subprocess.run(
        [sys.executable, "-m", "reelgate_client", *arguments],
        env=bare_environment() | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def test_the_command_makes_a_file_of_a_local_picture(stack: Stack, mark: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(httpx2.get(stack.picture, trust_env=False).content)
    prompt = f"a boat {mark} [sandbox:canned]"
    done = _command(stack, tmp_path, "run", MODEL, "--image", "a.jpg", "--prompt", prompt, "-o", "clip.mp4")
    assert (done.returncode, done.stdout) == (0, "clip.mp4\n"), done.stderr
    assert (tmp_path / "clip.mp4").read_bytes()[4:8] == b"ftyp"
    assert "completed" in done.stderr
    assert stack.key not in done.stderr
    failed = _command(stack, tmp_path, "run", MODEL, "--set", "resolution=9K", "--prompt", "x")
    assert failed.returncode == 1
    assert "#/resolution" in failed.stderr
    assert "Traceback" not in failed.stderr
