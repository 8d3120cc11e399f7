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

from app.db.schema.tables import webhook_endpoints
from app.webhooks.registry import secrets
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

ED25519 = """
import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { readFileSync } from "node:fs";
const raw = (text) => Buffer.from(text.replace(/^whpk_/, ""), "base64");
const found = JSON.parse(readFileSync(0, "utf8")).map(({ key, seed, signed, signature }) => {
  const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw(key)]);
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), raw(seed)]);
  const own = sign(null, raw(signed), createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" }));
  const publicKey = createPublicKey({ key: spki, format: "der", type: "spki" });
  return [verify(null, raw(signed), publicKey, raw(signature)), own.toString("base64")];
});
console.log(JSON.stringify(found));
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
    found: list[bool] = said_by_node(VERIFY, folder, given)
    return found


def said_by_node(program: str, folder: Path, given: list[dict[str, Any]]) -> Any:
    (folder / "program.mjs").write_text(program, encoding="utf-8")
    ran = subprocess.run(
        [str(shutil.which("node")), "program.mjs"],
        cwd=folder,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout)


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


def test_public_keys_are_those_of_rfc_8032() -> None:
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert secrets.public_key(seed).hex() == public


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here: install Node.js")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_node_accepts_what_we_sign_and_signs_the_same_while_a_key_is_rotated(
    world: World, receiver: Receiver, tmp_path: Path
) -> None:
    """An implementation of Ed25519 that is not ours; it knows the published form of the key alone."""
    made = await endpoint(world, receiver, signature="v1a")
    new, other = secrets.generate(), secrets.generate()
    until_ms = world.clock.now_ms() + 60_000
    await world.gateway.db.write(rotate, made.id, new, made.secret, until_ms)
    await world.finish(await world.submitted("canned"))
    await deliver(world)
    (message,) = receiver.received
    signed = f"{message.id}.{message.headers['webhook-timestamp']}.".encode() + message.body
    signatures = [one.split(",") for one in message.headers["webhook-signature"].split(" ")]
    assert [scheme for scheme, _ in signatures] == ["v1a", "v1a"]
    (_, newest), (_, former) = signatures
    cases = [
        (new, signed, newest, True),
        (made.secret, signed, former, True),
        (new, signed + b" ", newest, False),
        (new, signed, former, False),
        (other, signed, newest, False),
    ]
    given = [
        {
            "key": secrets.shown(seed, "v1a"),
            "seed": base64.b64encode(seed).decode(),
            "signed": base64.b64encode(text).decode(),
            "signature": signature,
        }
        for seed, text, signature, _ in cases
    ]
    found = said_by_node(ED25519, tmp_path, given)
    assert [accepted for accepted, _ in found] == [accepted for *_, accepted in cases]
    assert [own for _, own in found[:2]] == [newest, former], "signatures of Ed25519 are the same for all"


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
