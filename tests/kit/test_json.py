"""JSON from callers: what two readers could understand differently is refused, and nothing else is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit.json import (
    MAX_DEPTH,
    MAX_VALUES,
    JSONRefused,
    _check_all,
    _is_simple,
    dumps,
    from_column,
    parse_strict,
    to_column,
)

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=20,
)


@given(values)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert parse_strict(dumps(value)) == value
    assert from_column(to_column(value)) == value


@given(values)
def test_what_the_standard_library_writes_is_read(value: Any) -> None:
    assert parse_strict(json.dumps(value).encode()) == value
    assert parse_strict(json.dumps(value, indent=1, ensure_ascii=False).encode()) == value


@given(values)
def test_a_column_holds_no_nul_which_postgresql_would_refuse(value: Any) -> None:
    text = to_column(value)
    assert text is None or "\0" not in text


def test_a_nul_in_an_upstreams_words_is_storable() -> None:
    text = to_column({"a": "x\0y"})
    assert text is not None
    assert "\0" not in text
    assert from_column(text) == {"a": "x\0y"}


_NEARLY = st.text('{}[]":,\\u0dx0189eE+-. \n\tnultrefasNI\ufeff\x00é', max_size=40).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)


@given(st.binary(max_size=60) | _NEARLY)
def test_no_bytes_raise_anything_but_a_refusal(raw: bytes) -> None:
    try:
        value = parse_strict(raw)
    except JSONRefused:
        return
    assert parse_strict(dumps(value)) == value


@given(values, st.binary(min_size=1, max_size=3), st.integers(0, 200))
def test_a_document_bent_anywhere_raises_nothing_but_a_refusal(value: Any, wedge: bytes, at: int) -> None:
    raw = dumps(value)
    bent = raw[:at] + wedge + raw[at:]
    try:
        found = parse_strict(bent)
    except JSONRefused:
        return
    assert found == json.loads(bent)


REFUSED = {
    "nothing": b"",
    "blanks": b"  \n",
    "two values": b"{} {}",
    "a trailing comma": b'{"a":1,}',
    "a comment": b'{"a":1}//x',
    "single quotes": b"{'a':1}",
    "an unquoted key": b"{a:1}",
    "a duplicate key": b'{"a":1,"a":1}',
    "a duplicate key deep inside": b'[{"b":{"a":1,"c":2,"a":3}}]',
    "a duplicate key in two spellings": b'{"a":1,"\\u0061":2}',
    "NaN": b'{"a":NaN}',
    "infinity": b"[Infinity]",
    "minus infinity": b"[-Infinity]",
    "a float that overflows": b"[1e400]",
    "a negative float that overflows": b"[-1e400]",
    "an integer of 401 digits": b"[" + b"9" * 401 + b"]",
    "an integer of 5000 digits": b"[" + b"9" * 5000 + b"]",
    "a leading zero": b"[01]",
    "a leading plus": b"[+1]",
    "a bare point": b"[.5]",
    "hexadecimal": b"[0x1]",
    "an escaped NUL": b'{"a":"x\\u0000"}',
    "a NUL in a key": b'{"\\u0000":1}',
    "a raw NUL": b'{"a":"\x00"}',
    "a raw control character": b'{"a":"\n"}',
    "half a surrogate pair": b'["\\ud800"]',
    "half a surrogate pair in a key": b'{"\\udc00":1}',
    "a surrogate in UTF-8": b'["\xed\xa0\x80"]',
    "broken UTF-8": b'["\xff"]',
    "overlong UTF-8": b'["\xc0\xaf"]',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "deep arrays": b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2),
    "deep objects": b'{"a":' * (MAX_DEPTH + 2) + b"1" + b"}" * (MAX_DEPTH + 2),
    "a hundred thousand brackets": b"[" * 100_000,
    "a hundred thousand closed brackets": b"[" * 100_000 + b"]" * 100_000,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_refused(raw: bytes) -> None:
    with pytest.raises(JSONRefused) as refused:
        parse_strict(raw)
    assert str(refused.value).endswith(".")


ACCEPTED: dict[bytes, Any] = {
    b"{}": {},
    b" [1] \n": [1],
    b'"a"': "a",
    b"null": None,
    b'["\\ud83d\\ude00"]': ["😀"],
    b"[1e308,-0.0,1E-400]": [1e308, -0.0, 0.0],
    b"[18446744073709551616]": [2**64],
    b'{"a":{"a":{"a":1}}}': {"a": {"a": {"a": 1}}},
    b"[" * MAX_DEPTH + b"]" * MAX_DEPTH: json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH),
}


@pytest.mark.parametrize("raw", ACCEPTED, ids=lambda raw: repr(raw[:30]))
def test_accepted(raw: bytes) -> None:
    assert parse_strict(raw) == ACCEPTED[raw]


def test_a_long_wrong_key_is_not_repeated_in_full() -> None:
    key = "k" * 10_000
    with pytest.raises(JSONRefused) as refused:
        parse_strict(f'{{"{key}":1,"{key}":2}}'.encode())
    assert len(str(refused.value)) < 200


def test_the_number_of_values_is_bounded() -> None:
    assert len(parse_strict(b"[" + b"1," * (MAX_VALUES - 2) + b"1]")) == MAX_VALUES - 1
    with pytest.raises(JSONRefused, match="values"):
        parse_strict(b"[" + b"1," * (MAX_VALUES - 1) + b"1]")


@given(
    st.recursive(
        st.none() | st.integers(-9, 9) | st.text(st.sampled_from('[]{},:\\u"a0\ud800\0'), max_size=6),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text("[{,a", max_size=2), inner, max_size=4)
        ),
        max_leaves=60,
    ),
    st.integers(0, 40),
)
def test_a_document_that_is_plainly_simple_passes_every_check(value: Any, depth: int) -> None:
    for _ in range(depth):
        value = [value]
    text = json.dumps(value)
    if _is_simple(text):
        _check_all(value)
