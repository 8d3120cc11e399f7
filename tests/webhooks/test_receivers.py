"""The receivers that the documents show accept what is signed, and refuse a changed byte."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from app.webhooks.deliveries import signing
from app.webhooks.registry import secrets
from tests.processes import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "webhook-receivers.md").read_text(encoding="utf-8")
MODULES = ROOT / "tools" / "clients"
OLD, NEW = secrets.generate(), secrets.generate()
BODY = json.dumps({"type": "request.completed", "data": {"request_id": "naïve-✓"}}).encode()


def shown(language: str) -> str:
    found = re.search(rf"<!-- run by tests: {language} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[str]:
    port = free_port()
    given = {"WEBHOOK_SECRET": secrets.shown(OLD, "v1"), "PORT": str(port), "PATH": os.environ["PATH"]}
    with subprocess.Popen(command, cwd=folder, env=given, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{port}/hook"
        finally:
            process.terminate()
            out, _ = process.communicate()
        assert out.splitlines() == ["request.completed naïve-✓"], "each id is handled once"


def judged(url: str) -> None:
    """Sends one event as it is, again, signed with another secret first, and with a byte changed."""

    def sent(body: bytes, *signed_with: bytes) -> int:
        headers = signing.headers(
            "msg_1", at_s=int(time.time()), body=BODY, scheme="v1", secrets=signed_with or (OLD,)
        )
        return httpx2.post(url, content=body, headers=headers).status_code

    for _ in range(600):
        try:
            assert sent(BODY) == 204
            break
        except httpx2.TransportError:
            time.sleep(0.05)
    else:
        raise AssertionError("the receiver never listened")
    assert sent(BODY) == 204
    assert sent(BODY, NEW, OLD) == 204, "as during a rotation"
    assert sent(BODY, NEW) == 400
    assert sent(BODY.replace(b"completed", b"complfted")) == 400


def test_the_receiver_in_python_verifies_and_handles_each_event_once(tmp_path: Path) -> None:
    (tmp_path / "receiver.py").write_text(shown("python"), encoding="utf-8")
    with running([sys.executable, "receiver.py"], tmp_path) as url:
        judged(url)


def test_the_receiver_in_javascript_verifies_and_handles_each_event_once(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm here: install Node.js")
    if not (MODULES / "node_modules" / "standardwebhooks").is_dir():
        done = subprocess.run(
            [npm, "ci", "--silent", "--prefix", MODULES], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"npm cannot install the verifier here: {done.stderr[-300:]}")
    (tmp_path / "node_modules").symlink_to(MODULES / "node_modules")
    (tmp_path / "receiver.mjs").write_text(shown("javascript"), encoding="utf-8")
    with running(["node", "receiver.mjs"], tmp_path) as url:
        judged(url)


def test_a_public_library_refuses_what_was_signed_with_an_empty_or_other_secret() -> None:
    from standardwebhooks import Webhook, WebhookVerificationError  # noqa: PLC0415 - for this test alone

    headers = signing.headers("msg_1", at_s=int(time.time()), body=BODY, scheme="v1", secrets=[NEW])
    assert Webhook(secrets.shown(NEW, "v1")).verify(BODY, headers)["type"] == "request.completed"
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets.shown(OLD, "v1")).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(base64.b64encode(NEW).decode()).verify(BODY, headers | {"webhook-id": "msg_2"})
