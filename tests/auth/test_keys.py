"""API keys: their form, what the check finds, and that a stored digest depends on the pepper."""

import math
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.keys import KID_LENGTH, SECRET_LENGTH, parse
from app.kit.secrets import ALPHABET, CHECK_LENGTH, checksum, keyed_digest, pepper_id, random_text, same

FORM = re.compile(r"rg_(live|test)_[0-9A-Za-z]{12}_[0-9A-Za-z]{39}\Z")


def key_of(mode: str, kid: str, secret: str) -> str:
    body = f"rg_{mode}_{kid}_{secret}"
    return body + checksum(body)


def a_key(seed: int, mode: str = "live") -> str:
    dice = random.Random(seed)  # noqa: S311 - the same key in every run
    kid = "".join(dice.choices(ALPHABET, k=KID_LENGTH))
    return key_of(mode, kid, "".join(dice.choices(ALPHABET, k=SECRET_LENGTH)))


keys = st.builds(
    key_of,
    st.sampled_from(["live", "test"]),
    st.text(ALPHABET, min_size=KID_LENGTH, max_size=KID_LENGTH),
    st.text(ALPHABET, min_size=SECRET_LENGTH, max_size=SECRET_LENGTH),
)


@given(keys)
def test_a_key_has_its_form_and_is_read_back(key: str) -> None:
    presented = parse(key)
    assert FORM.match(key)
    assert presented is not None
    assert (presented.kind, presented.kid, presented.text) == (key[3:7], key[8 : 8 + KID_LENGTH], key)


def test_the_secret_has_at_least_192_bits() -> None:
    assert len(set(ALPHABET)) == len(ALPHABET) == 62
    assert SECRET_LENGTH * math.log2(len(ALPHABET)) >= 192


def test_random_text_is_of_the_alphabet_and_never_the_same() -> None:
    drawn = [random_text(SECRET_LENGTH) for _ in range(1000)]
    assert len(set(drawn)) == len(drawn)
    assert set("".join(drawn)) == set(ALPHABET)
    assert {len(text) for text in drawn} == {SECRET_LENGTH}


@pytest.mark.parametrize("mode", ["live", "test"])
def test_the_check_finds_every_change_of_one_character(mode: str) -> None:
    key = a_key(7, mode)
    for at, old in enumerate(key):
        for new in (*ALPHABET, "_", "-", " ", "é", "\n"):
            if new != old:
                assert parse(key[:at] + new + key[at + 1 :]) is None, (at, new)


@pytest.mark.parametrize("seed", range(50))
def test_the_check_finds_every_swap_of_neighbours(seed: int) -> None:
    key = a_key(seed)
    for at in range(len(key) - 1):
        if key[at] != key[at + 1]:
            assert parse(key[:at] + key[at + 1] + key[at] + key[at + 2 :]) is None, at


def test_the_check_finds_a_character_lost_or_doubled() -> None:
    key = a_key(3)
    for at in range(len(key)):
        assert parse(key[:at] + key[at + 1 :]) is None
        assert parse(key[:at] + key[at] + key[at:]) is None


@pytest.mark.parametrize("wrap", ["{} ", " {}", "{}\n", "\n{}", "{}\0", "Bearer {}", "{0}{0}", '"{}"'])
def test_nothing_around_a_key_is_taken(wrap: str) -> None:
    assert parse(wrap.format(a_key(1))) is None


@given(st.text() | st.text(st.characters(categories=["Cs"])) | st.from_regex(FORM.pattern[:-2]))
def test_arbitrary_text_raises_nothing_and_is_no_key(text: str) -> None:
    presented = parse(text)
    assert presented is None or checksum(text[:-CHECK_LENGTH]) == text[-CHECK_LENGTH:]


def test_a_presented_key_does_not_show_its_secret() -> None:
    key = a_key(5)
    assert key[-30:] not in repr(parse(key))


@given(keys, st.text(min_size=1), st.text(min_size=1))
def test_the_digest_differs_by_pepper_and_by_key(key: str, one: str, other: str) -> None:
    if one != other and one.rstrip("\0") != other.rstrip("\0"):
        assert keyed_digest(_utf8(one), key) != keyed_digest(_utf8(other) + "x", key)
    assert keyed_digest(_utf8(one), key) != keyed_digest(_utf8(one), key + "x")
    assert re.fullmatch(r"[0-9a-f]{64}", keyed_digest(_utf8(one), key))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def test_a_peppers_id_tells_peppers_apart_and_is_no_part_of_a_digest() -> None:
    peppers = [f"pepper number {number}" for number in range(1000)]
    assert len({pepper_id(pepper) for pepper in peppers}) == len(peppers)
    assert pepper_id(peppers[0]) not in keyed_digest(peppers[0], "")
    assert re.fullmatch(r"[0-9a-f]{8}", pepper_id(peppers[0]))


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_same_is_equality(left: str, right: str) -> None:
    assert same(left, right) == (left == right)
    assert same(left, left)
