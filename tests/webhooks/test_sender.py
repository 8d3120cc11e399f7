"""An attempt: signed, within its time, sent to no address that may not be reached, whatever a name says."""

import asyncio
import base64
import socket
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from structlog.testing import capture_logs

from app.db.schema.webhook_states import Cause
from app.egress import client
from app.egress.client import Egress, Reach
from app.webhooks.deliveries import signing
from app.webhooks.deliveries.claims import Claimed
from app.webhooks.deliveries.sender import TIMEOUT_S, Sender
from app.webhooks.deliveries.verdicts import retry_after_ms
from app.webhooks.registry import secrets
from tests.harness import FakeClock
from tests.loops import skipped
from tests.patience import PATIENCE_S
from tests.webhooks.receiver import KEY, Receiver, at_any_time, reply

pytestmark = pytest.mark.anyio

ENDPOINT = "ep_01a0c450-6c00-7623-bf1d-c2fd4db34ca1"
NEW, OLD = bytes(range(32)), bytes(range(32, 64))
TLS_HANDSHAKE = 22  # the type of a record
CLAIMED = Claimed(
    id="dlv_1",
    message_id="msg_1",
    endpoint_id=ENDPOINT,
    tenant_id="t",
    mode="test",
    kind="request.completed",
    cause=Cause.EVENT,
    attempt=1,
    created_at_ms=0,
    lease_until_ms=0,
    url="https://hook.test/",
    scheme="v1",
    secrets=(secrets.seal(NEW, [KEY], bound_to=ENDPOINT),),
    body='{"type":"request.completed"}',
)


@pytest.fixture
def sender(receiver: Receiver) -> Sender:
    reach = Reach(hosts=frozenset({f"127.0.0.1:{receiver.port}"}))
    return Sender(egress=Egress(), clock=FakeClock(), reach=reach, operator_reach=Reach(), keys=[KEY])


def to(receiver: Receiver, **more: Any) -> Claimed:
    return replace(CLAIMED, url=f"{receiver.base_url}/hook", **more)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What names stand for at this moment, in place of DNS; and where connections were made to."""
    table: dict[str, str] = {}
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host not in table:
            return real(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in table[host].split()]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return table


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that connections were made to; none is made to another machine."""
    made: list[str] = []

    async def noted(address: str, _port: int) -> Any:
        made.append(address)
        raise OSError("not in a test")

    monkeypatch.setattr(client, "connect", noted)
    return made


async def test_during_a_rotation_both_secrets_verify_and_the_new_one_comes_first(
    sender: Sender, receiver: Receiver
) -> None:
    both = (secrets.seal(NEW, [KEY], bound_to=ENDPOINT), secrets.seal(OLD, [KEY], bound_to=ENDPOINT))
    await sender.attempt(to(receiver, secrets=both))
    (got,) = receiver.received
    with at_any_time():
        for secret in (NEW, OLD):
            Webhook(base64.b64encode(secret).decode()).verify(got.body, got.headers)
        only_first = got.headers | {"webhook-signature": got.headers["webhook-signature"].split(" ")[0]}
        Webhook(base64.b64encode(NEW).decode()).verify(got.body, only_first)
        with pytest.raises(WebhookVerificationError):
            Webhook(base64.b64encode(OLD).decode()).verify(got.body, only_first)


def test_v1a_signs_with_ed25519() -> None:
    made = signing.headers("msg_1", at_s=12, body=b"{}", scheme="v1a", secrets=[NEW, OLD])
    for secret, one in zip((NEW, OLD), made["webhook-signature"].split(" "), strict=True):
        scheme, _, signature = one.partition(",")
        assert scheme == "v1a"
        public = Ed25519PublicKey.from_public_bytes(secrets.public_key(secret))
        public.verify(base64.b64decode(signature), b"msg_1.12.{}")


async def test_a_name_that_turns_to_a_private_address_is_refused_logged_and_never_reached(
    sender: Sender, names: dict[str, str], connected: list[str]
) -> None:
    names["hook.test"] = "93.184.216.34"
    first = await sender.attempt(CLAIMED)
    assert connected == ["93.184.216.34"]
    for private in ("127.0.0.1", "10.0.0.1", "169.254.169.254"):
        names["hook.test"] = private
        with capture_logs() as logs:
            second = await sender.attempt(replace(CLAIMED, attempt=2))
        assert connected == ["93.184.216.34"], "never reached"
        assert [one["reason"] for one in logs] == ["forbidden_address"]
        assert (second.status, second.error) == (None, "unreachable")
        assert second.error == first.error, "the tenant does not learn which names are ours"


async def test_an_unknown_name_is_told_as_a_private_address_is(
    sender: Sender, names: dict[str, str], connected: list[str]
) -> None:
    unknown = await sender.attempt(CLAIMED)
    told = [(unknown.status, unknown.error)]
    for addresses in ("10.0.0.1", "93.184.216.34 10.0.0.1", "10.0.0.1 93.184.216.34"):
        names["hook.test"] = addresses
        tried = await sender.attempt(CLAIMED)
        told.append((tried.status, tried.error))
    assert told == [(None, "unreachable")] * 4
    assert connected == [], "one private address is enough"


@pytest.mark.parametrize(
    ("url", "error"), [("http://hook.test/", "plain_http"), ("https://user@hook.test/", "bad_url")]
)
async def test_plain_http_and_odd_addresses_are_refused(
    sender: Sender, names: dict[str, str], connected: list[str], url: str, error: str
) -> None:
    names["hook.test"] = "93.184.216.34"
    assert (await sender.attempt(replace(CLAIMED, url=url))).error == error
    assert connected == []


async def test_a_message_without_a_body_is_not_sent(sender: Sender, receiver: Receiver) -> None:
    tried = await sender.attempt(to(receiver, body=None))
    assert (tried.status, tried.error) == (None, "message_missing")
    assert receiver.received == []


async def test_a_receiver_that_speaks_no_tls_gets_nothing(sender: Sender) -> None:
    heard = bytearray()

    async def answer_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(65_536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer_plainly, "127.0.0.1", 0)
    async with server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        reaching = replace(sender, reach=Reach(hosts=frozenset({place})))
        tried = await reaching.attempt(replace(CLAIMED, url=f"https://{place}/"))
    assert tried.status is None
    assert tried.error is not None
    assert heard[0] == TLS_HANDSHAKE, "no request was sent"


async def test_a_connection_is_closed_whose_tls_handshake_was_given_up(sender: Sender) -> None:
    heard, closed = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        await reader.read()  # until the other end closes
        closed.set()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        reaching = replace(sender, reach=Reach(hosts=frozenset({place})))
        work = reaching.attempt(replace(CLAIMED, url=f"https://{place}/"))
        assert (await skipped(work, TIMEOUT_S, once=heard.is_set)).status is None
        async with asyncio.timeout(PATIENCE_S):
            await closed.wait()


async def test_a_receiver_that_hangs_is_given_up_in_time(sender: Sender, receiver: Receiver) -> None:
    async def hang(reader: asyncio.StreamReader, _: Any) -> None:
        await reader.read()  # until it is given up

    receiver.always["/hook"] = hang
    work = sender.attempt(to(receiver))
    tried = await skipped(work, TIMEOUT_S, once=lambda: receiver.received)
    assert tried.error == "timeout"


async def test_a_receiver_that_drips_has_answered_with_its_head(sender: Sender, receiver: Receiver) -> None:
    begun = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 1000\r\n\r\na")
        await writer.drain()
        begun.set()
        await reader.read()

    receiver.always["/hook"] = drip
    tried = await skipped(sender.attempt(to(receiver)), TIMEOUT_S, once=begun.is_set)
    assert (tried.status, tried.answer, tried.is_success) == (200, "a", True)


async def test_an_answer_is_kept_as_text_that_can_be_stored(sender: Sender, receiver: Receiver) -> None:
    receiver.always["/hook"] = reply(500, body=b"\x00\xff\xed\xa0\x80 no")
    answer = (await sender.attempt(to(receiver))).answer
    assert answer is not None
    assert "\0" not in answer
    answer.encode()


async def test_what_a_receiver_in_a_private_network_answers_is_not_kept(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant chose its address; the operator allowed the network, and not each host in it to be read."""
    monkeypatch.setattr(client, "_is_candid", lambda *_: False)
    tried = await sender.attempt(to(receiver))
    assert (tried.status, tried.answer) == (200, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("Mon, 21 Sep 2026 14:14:20 GMT", 60),
        ("Mon, 21 Sep 2020 14:14:20 GMT", 0),
        ("999999999999", 86_400),
        ("-1", 0),
        ("soon", 0),
        ("", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_a_day_at_most(text: str, seconds: int) -> None:
    assert retry_after_ms({"retry-after": text}, now_ms=1_790_000_000_000) == seconds * 1000
