"""One submit has one fingerprint, however its numbers are written (RFC 8259, section 6)."""

import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from app.generations.submit.idempotency import fingerprint
from app.kit.json import dumps, parse_strict
from tests.harness import SUBMIT, World

SAME = [
    ("121", "121.0", "1.21e2", "1210E-1", "12100e-2"),
    ("100", "1e2", "1E+2", "100.000"),
    ("0", "-0", "0.0", "-0.0", "0e9"),
    ("100000000000000000000000", "1e23", "1E23"),
    ("0.1", "1e-1", "0.10"),
]
DIFFERENT = [
    ("9007199254740993", "9007199254740992.0"),
    ("1e23", "99999999999999991611392"),
    ("1", "true"),
    ("0", "false"),
    ("121", '"121"'),
    ("121", "121.5"),
]


def of(number: str) -> str:
    return fingerprint("test", "a/b", parse_strict(b'{"of":[{"number":%s}]}' % number.encode()))


@pytest.mark.parametrize("forms", SAME)
def test_every_form_of_one_number_has_one_fingerprint(forms: tuple[str, ...]) -> None:
    assert len({of(form) for form in forms}) == 1


@pytest.mark.parametrize("pair", DIFFERENT)
def test_other_values_have_other_fingerprints(pair: tuple[str, str]) -> None:
    assert of(pair[0]) != of(pair[1])


@given(st.integers(-(10**40), 10**40), st.integers(-(10**40), 10**40))
def test_large_integers_are_told_apart_to_the_last_digit(one: int, other: int) -> None:
    assert (of(str(one)) == of(str(other))) == (one == other)


@given(st.floats(allow_nan=False, allow_infinity=False).map(lambda number: float(int(number))))
def test_a_whole_number_has_the_fingerprint_of_the_digits_that_are_sent(number: float) -> None:
    sent = Decimal(dumps(number).decode())
    assert of(repr(number)) == of(str(int(sent)))


def of_an_older_version(body: dict[str, Any]) -> str:
    head = b"POST\0/v1/models/{model_id}\0test\0" + SUBMIT.removeprefix("/v1/models/").encode() + b"\0"
    return hashlib.sha256(head + dumps(body, sort_keys=True)).hexdigest()


@pytest.mark.anyio
@pytest.mark.parametrize(("first", "second"), [("121.0", "121"), ("121", "121.0"), ("121.0", "121.0")])
async def test_a_request_of_an_older_version_is_still_found_by_its_key(
    world: World, first: str, second: str
) -> None:
    body = world.body("canned", number_of_frames=0)

    async def post(number: str) -> Any:
        content = json.dumps(body).replace('"number_of_frames": 0', f'"number_of_frames": {number}')
        headers = {"Idempotency-Key": "one", "Content-Type": "application/json"}
        return await world.client.post(SUBMIT, content=content, headers=headers)

    made = await post(first)
    assert made.status_code == 200, made.text
    old = of_an_older_version({**body, "number_of_frames": json.loads(first)})

    def as_it_was(connection: Any) -> None:
        connection.execute(text("UPDATE generations SET fingerprint = :old"), {"old": old})

    await world.gateway.db.write(as_it_was)
    again = await post(second)
    assert (again.status_code, again.json()["request_id"]) == (200, made.json()["request_id"])
    assert again.headers["idempotent-replayed"] == "true"
    assert [one["input"]["number_of_frames"] for one in world.received()] == [121]
    other = await post("241")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
