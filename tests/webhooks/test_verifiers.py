"""What the gateway really sent is accepted by public libraries with its own secret, and by no other."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, update

from app.db.tables import webhook_endpoints
from app.webhooks import secrets
from tests.harness import World
from tests.webhooks.receiver import KEY, Receiver, deliver, endpoint

pytestmark = pytest.mark.anyio

MODULES = Path(__file__).parents[2] / "tools" / "clients"
VERIFY = """
import { Webhook } from "standardwebhooks";
import { readFileSync } from "node:fs";
const verdicts = JSON.parse(readFileSync(0, "utf8")).map(({ secret, headers, body }) => {
  Date.now = () => Number(headers["webhook-timestamp"]) * 1000; // the clock of a test stands still
  try { new Webhook(secret).verify(body, headers); return true } catch { return false }
});
console.log(JSON.stringify(verdicts));
"""


@pytest.fixture(scope="session")
def npm_modules() -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm here: install Node.js")
    if not (MODULES / "node_modules" / "standardwebhooks").is_dir():
        done = subprocess.run(
            [npm, "ci", "--silent", "--prefix", MODULES], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"npm cannot install the verifier here: {done.stderr[-300:]}")
    return MODULES / "node_modules"


def verdicts(modules: Path, folder: Path, given: list[dict[str, Any]]) -> list[bool]:
    (folder / "node_modules").symlink_to(modules)
    (folder / "verify.mjs").write_text(VERIFY, encoding="utf-8")
    ran = subprocess.run(
        [str(shutil.which("node")), "verify.mjs"],
        cwd=folder,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[bool] = json.loads(ran.stdout)
    return found


def rotate(connection: Connection, endpoint_id: str, new: bytes, old: bytes, until_ms: int) -> None:
    values = {
        "secret": secrets.seal(new, [KEY], bound_to=endpoint_id),
        "previous_secret": secrets.seal(old, [KEY], bound_to=endpoint_id),
        "previous_until_ms": until_ms,
    }
    connection.execute(update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id).values(values))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_library_for_javascript_accepts_every_delivery_also_while_a_secret_is_rotated(
    world: World, receiver: Receiver, npm_modules: Path, tmp_path: Path
) -> None:
    made = await endpoint(world, receiver)
    new, other = secrets.generate(), secrets.generate()
    for directives in ("canned", "fail"):
        await world.finish(await world.submitted(directives))
    await deliver(world)
    before = len(receiver.received)
    until_ms = world.clock.now_ms() + 60_000
    await world.gateway.db.write(rotate, made.id, new, made.secret, until_ms)
    await world.finish(await world.submitted("canned"))
    await deliver(world)
    given, expected = [], []
    for number, message in enumerate(receiver.received):
        body, is_rotating = message.body.decode(), number >= before
        for secret, text, accepted in (
            (made.secret, body, True),
            (new, body, is_rotating),
            (other, body, False),
            (made.secret, body.replace("request.", "requesT."), False),
        ):
            shown = secrets.shown(secret, "v1")
            given.append({"secret": shown, "headers": message.headers, "body": text})
            expected.append(accepted)
    assert 0 < before < len(receiver.received)
    assert verdicts(npm_modules, tmp_path, given) == expected


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_independent_ed25519_accepts_both_signatures_of_a_delivery_while_a_key_is_rotated(
    world: World, receiver: Receiver
) -> None:
    made = await endpoint(world, receiver, signature="v1a")
    new = secrets.generate()
    until_ms = world.clock.now_ms() + 60_000
    await world.gateway.db.write(rotate, made.id, new, made.secret, until_ms)
    await world.finish(await world.submitted("canned"))
    await deliver(world)
    (message,) = receiver.received
    signed = f"{message.id}.{message.headers['webhook-timestamp']}.".encode() + message.body
    signatures = message.headers["webhook-signature"].split(" ")
    assert [one.partition(",")[0] for one in signatures] == ["v1a", "v1a"]
    for secret, one in zip((new, made.secret), signatures, strict=True):
        public = Ed25519PrivateKey.from_private_bytes(secret).public_key()
        signature = base64.b64decode(one.partition(",")[2])
        public.verify(signature, signed)
        with pytest.raises(InvalidSignature):
            public.verify(signature, signed + b" ")
