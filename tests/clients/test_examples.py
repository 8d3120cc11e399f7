"""The examples of the Python side, each run as it stands, against a served gateway and its sandbox."""

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.clients.conftest import Stack
from tests.clients.histories import one_job_one_charge
from tests.patience import PATIENCE_S
from tests.processes import bare_environment, eventually, free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = b"a secret of the webhook's endpoint"


def environment(stack: Stack, **more: str) -> dict[str, str]:
    return bare_environment() | {
        "REELGATE_URL": stack.url,
        "REELGATE_KEY": stack.key,
        "NO_PROXY": "*",
        "PYTHON": sys.executable,
        "PICTURE": stack.picture,
        **more,
    }


def run(stack: Stack, name: str, *arguments: str, **more: str) -> str:
    done = subprocess.run(
        [EXAMPLES / name / "run", *arguments],
        env=environment(stack, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_curl_alone_makes_a_video_also_where_the_first_answer_is_lost(
    stack: Stack, mark: str, tmp_path: Path
) -> None:
    video = tmp_path / "clip.mp4"
    stack.relay.fail("cut-after", only="^POST ")
    prompt = f'a "boat" {mark} [sandbox:canned]'
    done = subprocess.run(
        [EXAMPLES / "shell" / "video.sh", stack.picture, prompt, video],
        env=environment(stack),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert video.read_bytes()[4:8] == b"ftyp"
    (request_id,) = re.findall(r"The request is (\S+)\.", done.stderr)
    one_job_one_charge(stack, mark, request_id)
    refused = subprocess.run(
        [EXAMPLES / "shell" / "video.sh", "no-url", prompt, video],
        env=environment(stack),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert refused.returncode == 1
    assert "invalid_input" in refused.stderr


def test_the_notebook_makes_and_shows_a_video(stack: Stack, mark: str, tmp_path: Path) -> None:
    said = run(stack, "notebook", FOLDER=str(tmp_path), PROMPT=f"{mark} [sandbox:canned]")
    (video,) = tmp_path.iterdir()
    assert f"<video of {video}>" in said
    assert "completed" in said
    assert stack.received(mark) == 1


@contextmanager
def backend(stack: Stack) -> Iterator[httpx2.Client]:
    port = free_port()
    secret = f"whsec_{base64.b64encode(SECRET).decode()}"
    more = {"PORT": str(port), "REELGATE_WEBHOOK_SECRET": secret}
    process = subprocess.Popen(
        [EXAMPLES / "fastapi" / "run", "--log-level", "warning"], env=environment(stack, **more)
    )
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            eventually(lambda: _answers(client))
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def _answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/docs").status_code == 200
    except httpx2.HTTPError:
        return False


def test_the_backend_mints_tokens_submits_once_and_takes_webhooks(stack: Stack, mark: str) -> None:
    order = {"picture": stack.picture, "prompt": f"{mark} [sandbox:canned]"}
    stack.relay.fail("cut-after", only="^POST /v1/models")
    with backend(stack) as client:
        minted = client.post("/token", headers={"X-User": "u1"}).json()
        assert minted["token"].startswith("rg_client_")
        headers = {"Idempotency-Key": mark}
        made = {client.post("/videos", json=order, headers=headers).json()["request_id"] for _ in range(2)}
        (request_id,) = made
        eventually(lambda: client.get(f"/videos/{request_id}").json()["status"] == "succeeded")
        one_job_one_charge(stack, mark, request_id)
        wrong = client.post("/videos", json=order | {"prompt": 5}, headers={"Idempotency-Key": f"{mark}-2"})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_input")
        body = json.dumps({"type": "request.completed", "data": {"request_id": request_id}}).encode()
        assert client.post("/webhook", content=body, headers=signed(body)).status_code == 204
        assert client.post("/webhook", content=body + b" ", headers=signed(body)).status_code == 400
        assert client.get(f"/videos/{request_id}").json()["told_by_webhook"] is True


def signed(body: bytes) -> dict[str, str]:
    at = str(int(time.time()))
    digest = hmac.new(SECRET, f"msg_1.{at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": "msg_1", "webhook-timestamp": at, "webhook-signature": signature}


@pytest.mark.parametrize("name", ["fastapi", "notebook", "shell"])
def test_make_finds_every_example(name: str) -> None:
    assert os.access(EXAMPLES / name / "run", os.X_OK)
    assert f"| `{name}` |" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
