"""POST /v1/models/{model_id}, 400 invalid_json: two readers can never understand one body differently."""

import json

import pytest

from tests.contract.published import problem_of
from tests.harness import SUBMIT, World

pytestmark = pytest.mark.anyio

HEADERS = {"Content-Type": "application/json"}


def _nested(levels: int) -> bytes:
    """A body of that many containers one in another, around a number."""
    return b'{"prompt":' + b"[" * (levels - 1) + b"1" + b"]" * (levels - 1) + b"}"


VALID = b'{"prompt": "a boat", "image_urls": ["https://pictures.example/a.jpg"]}'
HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "a blank": b" ",
    "white space": b"\r\n\t ",
    "a NUL": b"\0",
    "an array": b"[" + VALID + b"]",
    "an empty array": b"[]",
    "a string": b'"a boat"',
    "an object in a string": json.dumps(VALID.decode()).encode(),
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "a bare word": b"boat",
    "a form": b"prompt=a+boat",
    "XML": b"<prompt>a boat</prompt>",
    "two objects": VALID + VALID,
    "two lines of JSON": VALID + b"\n" + VALID,
    "garbage after it": VALID + b"x",
    "a brace after it": VALID + b"}",
    "a NUL after it": VALID + b"\0",
    "a comma after it": VALID + b",",
    "cut short": VALID[:-1],
    "cut in a string": b'{"prompt": "a bo',
    "cut in a key": b'{"prom',
    "cut in an escape": b'{"prompt": "\\u00',
    "a comma before the end": b'{"prompt": "a",}',
    "a comma at the start": b'{,"prompt": "a"}',
    "no comma": b'{"prompt": "a" "seed": 1}',
    "no colon": b'{"prompt" "a"}',
    "no value": b'{"prompt":}',
    "single quotes": b"{'prompt': 'a'}",
    "a bare key": b'{prompt: "a"}',
    "a numeric key": b'{1: "a"}',
    "a line comment": b'{"prompt": "a" // a boat\n}',
    "a block comment": b'{"prompt": /* a boat */ "a"}',
    "a hash comment": b'{"prompt": "a" # a boat\n}',
    "a duplicate key": b'{"prompt": "a", "prompt": "b"}',
    "a duplicate of the same value": b'{"seed": 1, "seed": 1}',
    "a duplicate in disguise": b'{"prompt": "a", "\\u0070rompt": "b"}',
    "a duplicate within": b'{"image_urls": [{"a": 1, "a": 2}]}',
    "NaN": b'{"seed": NaN}',
    "Infinity": b'{"seed": Infinity}',
    "minus Infinity": b'{"seed": -Infinity}',
    "more than a double holds": b'{"seed": 1e999}',
    "less than a double holds": b'{"seed": -1e999}',
    "a long integer": b'{"seed": ' + b"9" * 5000 + b"}",
    "a very long integer": b'{"seed": ' + b"9" * 200_000 + b"}",
    "a long negative integer": b'{"seed": -' + b"9" * 5000 + b"}",
    "a hexadecimal number": b'{"seed": 0x10}',
    "a leading zero": b'{"seed": 01}',
    "a leading plus": b'{"seed": +1}',
    "a leading dot": b'{"seed": .5}',
    "a trailing dot": b'{"seed": 1.}',
    "two minuses": b'{"seed": --1}',
    "a thousands mark": b'{"seed": 1_000}',
    "an Arabic digit": '{"seed": \u0661}'.encode(),
    "True": b'{"seed": True}',
    "None": b'{"seed": None}',
    "undefined": b'{"seed": undefined}',
    "a NUL character": b'{"prompt": "a\\u0000b"}',
    "a raw NUL": b'{"prompt": "a\0b"}',
    "a NUL in a key": b'{"pro\\u0000mpt": "a"}',
    "a raw line break": b'{"prompt": "a\nb"}',
    "a raw tab": b'{"prompt": "a\tb"}',
    "half a pair": b'{"prompt": "\\ud83d"}',
    "the other half": b'{"prompt": "\\udea4"}',
    "a pair the wrong way round": b'{"prompt": "\\udea4\\ud83d"}',
    "half a pair in a key": b'{"\\ud83d": "a"}',
    "half a pair deep within": b'{"image_urls": [["\\ud83d"]]}',
    "half a pair in UTF-8": b'{"prompt": "\xed\xa0\xbd"}',
    "an unknown escape": b'{"prompt": "\\x41"}',
    "latin-1": '{"prompt": "Zürich"}'.encode("latin-1"),
    "overlong UTF-8": b'{"prompt": "\xc0\xaf"}',
    "beyond Unicode": b'{"prompt": "\xf5\x80\x80\x80"}',
    "UTF-8 cut short": b'{"prompt": "\xf0\x9f\x9a"}',
    "a byte order mark": b"\xef\xbb\xbf" + VALID,
    "UTF-16": VALID.decode().encode("utf-16"),
    "UTF-16 without a mark": VALID.decode().encode("utf-16-le"),
    "UTF-32": VALID.decode().encode("utf-32"),
    "gzip": b"\x1f\x8b\x08\x00" + b"\0" * 20,
    "33 levels": _nested(33),
    "100,000 arrays": b"[" * 100_000,
    "100,000 arrays, closed": b'{"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "40,000 objects": b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
}


async def test_a_body_that_is_not_one_strict_object_is_refused_and_leaves_no_trace(world: World) -> None:
    calls = world.sandbox.ledger()["calls"]
    for name, body in HOSTILE.items():
        answer = await world.client.post(SUBMIT, content=body, headers=HEADERS)
        assert answer.status_code == 400, name
        assert len(problem_of(answer, 400, "invalid_json")["detail"]) < 300, name
    assert world.sandbox.ledger()["calls"] == calls
    assert (await world.get("/v1/requests"))["requests"] == []


async def test_the_33rd_level_is_refused_also_when_it_is_empty(world: World) -> None:
    body = b'{"prompt":' + b"[" * 32 + b"]" * 32 + b"}"
    problem_of(await world.client.post(SUBMIT, content=body, headers=HEADERS), 400, "invalid_json")


STRICT: dict[str, bytes] = {
    "32 levels": _nested(32),
    "white space around": b" \r\n\t" + VALID + b"\n ",
    "a whole pair": b'{"prompt": "\\ud83d\\udea4"}',
    "an escaped backslash before u": b'{"prompt": "\\\\ud83d"}',
    "a number that is almost too large": b'{"seed": 1e308}',
    "a number that is almost nothing": b'{"seed": 1e-999}',
    "minus zero": b'{"seed": -0.0}',
    "an integer as long as any double's": b'{"seed": ' + b"9" * 300 + b"}",
    "the same key in two objects": b'{"image_urls": [{"a": 1}, {"a": 1}]}',
    "keys that differ in case": b'{"prompt": 1, "Prompt": 1}',
    "an empty key": b'{"": 1}',
    "a mark within a string": b'{"prompt": "\xef\xbb\xbf"}',
}


async def test_what_is_strict_json_is_judged_by_the_schema(world: World) -> None:
    for name, body in STRICT.items():
        answer = await world.client.post(SUBMIT, content=body.replace(b"pictures", b"@"), headers=HEADERS)
        assert answer.status_code == 422, (name, answer.text)
        problem_of(answer, 422, "invalid_input")


async def test_nothing_of_a_refused_body_comes_back_in_full(world: World) -> None:
    secret = "s3cret" * 30
    body = json.dumps({"prompt": secret})[:-1].encode() + b', "' + secret.encode() + b'": 1,'
    answer = await world.client.post(SUBMIT, content=body, headers=HEADERS)
    assert secret not in problem_of(answer, 400, "invalid_json")["detail"]
