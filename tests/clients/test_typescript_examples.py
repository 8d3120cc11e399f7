"""The examples in TypeScript as their files stand there: installed, started, and used in a real browser."""

import base64
import fcntl
import hashlib
import hmac
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.auth import tenants
from app.db.engines.engine import Database
from tests.clients.conftest import ORIGIN, Stack
from tests.console.bench import FLAGS, browser_path
from tests.processes import bare_environment, eventually, free_port, in_database

ROOT = Path(__file__).parents[2]
SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSBleGFtcGxlcyBvZiBSZWVsZ2F0ZQ=="
START_MS = 60_000  # for a development server that compiles what is asked for


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = browser_path()
    if path is None:
        pytest.skip("no browser here: install the package `chromium`, or name one in REELGATE_TEST_BROWSER")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield launched
        launched.close()


@contextmanager
def example(name: str, host: str, stack: Stack) -> Iterator[str]:
    """The example, served on a port whose pages may call the gateway."""
    if shutil.which("npm") is None:
        pytest.skip("no npm here: install Node.js")
    _install(name)
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    async def allow(db: Database) -> None:
        await db.write(tenants.set_origins, stack.tenant_id, [ORIGIN, url])

    with ThreadPoolExecutor() as other:  # this thread has the browser's loop
        other.submit(in_database, stack.place.settings["DATABASE_URL"], allow).result()
    process = subprocess.Popen(
        [ROOT / "examples" / name / "run", host, "127.0.0.1", "--port", str(port)],
        env=bare_environment()
        | {"REELGATE_URL": stack.place.url, "REELGATE_KEY": stack.key, "REELGATE_WEBHOOK_SECRET": SECRET}
        | {"NEXT_TELEMETRY_DISABLED": "1", "PATH": os.environ["PATH"]},
        start_new_session=True,
    )
    try:
        eventually(lambda: _answers(url))
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)


def _install(name: str) -> None:
    """As `make example` does; one at a time, since all build the library."""
    with (ROOT / "clients/typescript/package.json").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        make = ["make", f"examples/{name}/node_modules/.installed"]
        made = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"the example {name} cannot be installed here: {(made.stdout + made.stderr)[-300:]}")


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False, timeout=60).status_code == 200
    except httpx2.HTTPError:
        return False


def _filled(page: Page, prompt: str) -> None:
    """The form, with the button as often pressed as somebody in a hurry does."""
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Make a video").dblclick()


def _reloaded_and_cancelled(page: Page) -> None:
    """A page that is loaded again goes on with the job that it had, and can cancel it."""
    expect(page.locator("output")).to_contain_text("in_queue")
    page.reload()
    expect(page.locator("output")).to_contain_text("in_queue", timeout=START_MS)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("alert").filter(has_text="The job was cancelled.")).to_be_visible()


def test_a_page_of_vite_in_strict_mode_makes_one_job_and_goes_on_after_a_reload(
    stack: Stack, mark: str, browser: Browser, tmp_path: Path
) -> None:
    picture = tmp_path / "harbour.jpg"
    picture.write_bytes(httpx2.get(stack.picture, trust_env=False).content)
    with example("vite", "--host", stack) as url:
        page = browser.new_page()
        sent: list[str] = []
        page.on("request", lambda request: sent.append(f"{request.method} {request.url}"))
        page.goto(url, timeout=START_MS)
        page.get_by_label("Picture").set_input_files(picture)
        _filled(page, f"a boat {mark} [sandbox:canned]")
        expect(page.locator("video")).to_have_attribute("src", re.compile(r"^http"), timeout=START_MS)
        submits = [one for one in sent if one.startswith("POST") and "/v1/models/" in one]
        assert (stack.received(mark), len(submits)) == (1, 1)
        expect(page.locator("output")).to_contain_text("9 of 10 videos left")

        _filled(page, f"a boat {mark} [sandbox:queued]")
        _reloaded_and_cancelled(page)
        assert stack.received(mark) == 2
        assert stack.key not in page.content()
        page.close()


def test_an_application_of_next_gives_tokens_makes_a_video_and_verifies_webhooks(
    stack: Stack, mark: str, browser: Browser
) -> None:
    with example("next", "--hostname", stack) as url:
        page = browser.new_page()
        page.goto(url, timeout=START_MS)
        page.get_by_label("Picture").fill(stack.picture)
        _filled(page, f"a boat {mark} [sandbox:canned]")
        expect(page.locator("video")).to_have_attribute("src", re.compile(r"^http"), timeout=START_MS)
        assert stack.received(mark) == 1
        _filled(page, f"a boat {mark} [sandbox:queued]")
        _reloaded_and_cancelled(page)
        assert stack.received(mark) == 2
        page.close()

        body = '{"type":"request.completed","timestamp":"2026-11-30T12:00:00Z","data":{"request_id":"r"}}'
        assert [_posted(f"{url}/api/webhook", body, sent) for sent in (body, body + " ")] == [204, 400]


def _posted(url: str, signed: str, sent: str) -> int:
    """The answer to a webhook with the signature of a body, which need not be the one that is sent."""
    now = str(int(time.time()))
    secret = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.digest(secret, f"msg_1.{now}.{signed}".encode(), hashlib.sha256)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": now,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    return httpx2.post(url, content=sent, headers=headers, trust_env=False, timeout=60).status_code
