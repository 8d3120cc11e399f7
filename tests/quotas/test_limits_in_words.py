"""Limits in words: as an operator writes them, and as a refusal tells a caller of them."""

import itertools
import math
import re
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.documents.amounts.limits import limit as document
from app.errors import QUOTA_EXCEEDED, QUOTA_EXHAUSTED
from app.quotas.amounts import MICROCREDITS, NAMES, Amounts, credits_text
from app.quotas.limits import MAX_AMOUNT, Limit, LimitError, Payer, Scope, parse_credits, parse_limit
from app.quotas.metrics import SETTABLE, Metric, Unit
from app.quotas.periods import periods_at
from app.quotas.problem import QuotaProblem, refused, sentence
from app.quotas.standing import Account, Standing, Usage
from tests.quotas.accounts import OF_SUBMITS

KID, MODEL = "k1", "maker/model"
KEY, OF_MODEL, KEY_OF_MODEL = Scope(KID), Scope("", MODEL), Scope(KID, MODEL)
NOW_MS: Final = 1_795_521_599_500  # half a second before noon
PERIODS: Final = periods_at(NOW_MS, UTC)
TAKEN_US: Final = NOW_MS * 1000 + 60_000_000
"""The state of a rate whose whole minute is taken."""

# --- as an operator writes them


@pytest.mark.parametrize(
    ("text", "metric", "amount", "burst"),
    [
        ("submits-minute=60", Metric.SUBMITS_MINUTE, 60, None),
        ("submits-minute=60/10", Metric.SUBMITS_MINUTE, 60, 10),
        ("submits-minute=0", Metric.SUBMITS_MINUTE, 0, None),
        ("in-flight=none", Metric.IN_FLIGHT, None, None),
        ("generations-total=999999999", Metric.GENERATIONS_TOTAL, MAX_AMOUNT, None),
        ("output-seconds-day=600", Metric.OUTPUT_SECONDS_DAY, 600, None),
        ("credits-day=12.5", Metric.CREDITS_DAY, 12_500_000, None),
        ("credits-month=0.000001", Metric.CREDITS_MONTH, 1, None),
        ("credits-total=999999999", Metric.CREDITS_TOTAL, MAX_AMOUNT * MICROCREDITS, None),
    ],
)
def test_a_limit_is_read(text: str, metric: Metric, amount: int | None, burst: int | None) -> None:
    assert parse_limit(text, KEY) == Limit(KEY, metric, amount, burst)
    assert parse_limit(text).scope == Scope()


# Digits of other scripts are digits to int() and Decimal(), and Decimal() takes underscores and exponents.
NO_COUNTS = ["", " 1", "1\n", "-1", "+1", "1.0", "1e3", "1_000", "²", "\u0661", "\uff11", "1000000000"]
NO_CREDITS = [
    *["", "-", ".", ".5", "5.", "--1", "1,5", "0x1", " 1", "1 ", "1\n", "1\0", "1_000", "²", "\u0663"],
    *["NaN", "sNaN", "Infinity", "-inf", "1e3", "1E-6", "1e999999999", "1e-999999999", "0e0", "0.0000001"],
    *["1.0000000", "999999999.000001", "-999999999.5", "1000000000", "9" * 5000, "0." + "0" * 5000],
]
NO_LIMITS = [
    *["", "=", "=5", "5", "none", "credits-day", "credits-day 5", "Credits-Day=5", " in-flight=5"],
    *[
        "reads-minute=5",
        "credits-year=5",
        "output-seconds-day=1.5",
        "in-flight=None",
        "in-flight==5",
        "in-flight=" + "9" * 5000,
    ],
    *["submits-minute=5/0", "submits-minute=5/none", "submits-minute=none/5", "submits-minute=/5"],
    *["submits-minute=5/5/5", "in-flight=5/5", "in-flight=5/", "credits-day=5/5", "credits-day=-0.000001"],
    *[f"{before}{count}" for before in ("generations-day=", "submits-minute=60/") for count in NO_COUNTS],
    *[f"credits-day={amount}" for amount in NO_CREDITS],
]


@pytest.mark.parametrize("text", NO_LIMITS, ids=lambda text: repr(text[:40]))
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(LimitError):
        parse_limit(text)


@pytest.mark.parametrize("text", NO_CREDITS, ids=lambda text: repr(text[:20]))
def test_what_could_be_read_as_another_amount_is_no_amount_of_credits(text: str) -> None:
    with pytest.raises(LimitError, match="is not an amount of credits"):
        parse_credits(text)


@pytest.mark.parametrize(
    ("text", "microcredits"),
    [("0", 0), ("-0", 0), ("+5", 5_000_000), ("-3.5", -3_500_000), ("007", 7_000_000), ("0.100000", 100_000)],
)
def test_credits_are_read_to_the_last_decimal(text: str, microcredits: int) -> None:
    assert parse_credits(text) == microcredits


@pytest.mark.parametrize(
    ("microcredits", "text"),
    [
        (0, "0"),
        (1, "0.000001"),
        (150_000, "0.15"),
        (12 * 10**6, "12"),
        (10**13, "10000000"),
        (-3 * 10**6, "-3"),
    ],
)
def test_credits_are_written_without_exponent_or_idle_noughts(microcredits: int, text: str) -> None:
    assert credits_text(microcredits) == text


@given(st.integers(-MAX_AMOUNT * MICROCREDITS, MAX_AMOUNT * MICROCREDITS))
def test_credits_that_are_written_are_read_back(microcredits: int) -> None:
    assert parse_credits(credits_text(microcredits)) == microcredits


looks_like_amount = st.text("0123456789.-+eE_/naif ٣\n", max_size=30)


@given(st.text() | looks_like_amount, st.sampled_from(["", *(f"{one}=" for one in SETTABLE)]))
@example("1e999999999", "credits-day=")
def test_no_text_raises_anything_but_that_it_is_no_limit(text: str, before: str) -> None:
    try:
        limit = parse_limit(before + text)
    except LimitError:
        return
    most = MAX_AMOUNT * (MICROCREDITS if limit.metric.unit is Unit.MICROCREDITS else 1)
    assert limit.amount is None or 0 <= limit.amount <= most


# --- as a refusal tells of them


def sums(
    generations: tuple[int, int] = (0, 0),
    microcredits: tuple[int, int] = (0, 0),
    added_microcredits: int = 0,
    seconds: tuple[int, int] = (0, 0),
) -> Usage:
    held, spent = (Amounts(*each) for each in zip(generations, microcredits, seconds, strict=True))
    return Usage(held, spent, added_microcredits)


def wanted(price: int = 150_000) -> Amounts:
    """What a request of five seconds wants."""
    return Amounts(generations=1, microcredits=price, output_seconds=5)


def standing(
    limit: Limit,
    used: Usage | int = Usage(),  # noqa: B008 - a constant
    price: int = 150_000,
    *,
    undeclared: frozenset[Unit] = frozenset(),
) -> Standing:
    """The limit beside a usage or, as a number, so many in flight."""
    usage = {(limit.scope, PERIODS.of(limit.metric.window).label): used} if isinstance(used, Usage) else {}
    in_flight = {limit.scope: used} if isinstance(used, int) else {}
    account = Account(Payer(KID), MODEL, NOW_MS, "UTC", PERIODS, (limit,), usage, in_flight)
    [found] = account.standings(wanted(price), undeclared=undeclared)
    return found


def refusal(*standings: Standing) -> QuotaProblem:
    problem = refused(standings)
    assert problem is not None
    return problem


# Each with the seconds until it may be tried again and, in the same order, its words.
WAITS: list[tuple[Standing, int | None]] = [
    (standing(Limit(KEY, Metric.SUBMITS_MINUTE, 7), Usage(tat_us=TAKEN_US)), 9),
    (standing(Limit(OF_MODEL, Metric.SUBMITS_MINUTE, 1, 1), Usage(tat_us=TAKEN_US)), 60),
    (standing(Limit(Scope(), Metric.SUBMITS_MINUTE, 60, 10), Usage(tat_us=TAKEN_US - 50_000_000)), 1),
    (standing(Limit(Scope(), Metric.SUBMITS_MINUTE, 0)), None),
    (standing(Limit(KEY_OF_MODEL, Metric.IN_FLIGHT, 1), 1), 5),
    (standing(Limit(Scope(), Metric.IN_FLIGHT, 0)), None),
    (standing(Limit(KEY, Metric.GENERATIONS_DAY, 3), sums((1, 2))), 43_201),
    (standing(Limit(OF_MODEL, Metric.GENERATIONS_MONTH, 1), sums((0, 1))), 561_601),
    (standing(Limit(Scope(), Metric.GENERATIONS_TOTAL, 1), sums((0, 1))), None),
    (
        standing(Limit(KEY_OF_MODEL, Metric.CREDITS_DAY, 1_000_000), sums((0, 0), (150_000, 750_001))),
        43_201,
    ),
    (standing(Limit(Scope(), Metric.CREDITS_MONTH, 149_999)), None),
    (
        standing(Limit(Scope(), Metric.CREDITS_TOTAL, 0), sums((1, 1), (1_000_000, 950_000), 2_000_000)),
        None,
    ),
    (standing(Limit(Scope(), Metric.CREDITS_TOTAL, 0)), None),
    (standing(Limit(KEY, Metric.CREDITS_TOTAL, 0), Usage(added_microcredits=-3_000_000)), None),
    (
        standing(
            Limit(KEY_OF_MODEL, Metric.CREDITS_TOTAL, 0),
            sums((1, 1), (3_000_000, 1_000_000), 2_000_000),
        ),
        None,
    ),
    (standing(Limit(Scope(), Metric.GENERATIONS_TOTAL, 2), sums((1, 1))), None),
    (standing(Limit(Scope(), Metric.GENERATIONS_TOTAL, 1), sums((1, 2))), None),
    (standing(Limit(Scope(), Metric.OUTPUT_SECONDS_DAY, 600), sums(seconds=(6, 590))), 43_201),
    (standing(Limit(KEY_OF_MODEL, Metric.OUTPUT_SECONDS_MONTH, 1)), None),
    (standing(Limit(KEY, Metric.OUTPUT_SECONDS_TOTAL, 9), sums(seconds=(4, 1))), None),
    (
        standing(Limit(Scope(), Metric.OUTPUT_SECONDS_DAY, 600), undeclared=frozenset({Unit.OUTPUT_SECONDS})),
        None,
    ),
]
WORDS: Final = """
This API key may make 7 submits a minute (`key-submits-minute`). Try again in 9 s.

Your tenant may make 1 submit of maker/model a minute (`tenant-model-submits-minute`). Try again in 60 s.

Your tenant may make 60 submits a minute, at most 10 at once (`tenant-submits-minute`). Try again in 1 s.

Your tenant may make 0 submits a minute (`tenant-submits-minute`). The limit is 0: waiting does not help.

This API key may have 1 request of maker/model in flight at a time (`key-model-in-flight`), and has 1.
Try again when one of them has ended (`GET /v1/requests` lists them), or in 5 s.

Your tenant may have 0 requests in flight at a time (`tenant-in-flight`), and has 0.
The limit is 0: waiting does not help.

This API key may spend 3 generations a day (`key-generations-day`): 2 generations spent,
1 generation held for requests under way, 0 generations left; this request needs 1 generation.
The limit resets at 2026-11-25T00:00:00.000Z, in 43201 s.

Your tenant may spend 1 generation of maker/model a month (`tenant-model-generations-month`):
1 generation spent, 0 generations held for requests under way, 0 generations left;
this request needs 1 generation.
The limit resets at 2026-12-01T00:00:00.000Z, in 561601 s.

Your tenant may spend 1 generation in all (`tenant-generations-total`): 1 generation spent,
0 generations held for requests under way, 0 generations left; this request needs 1 generation.
Waiting does not help: the limit has to be raised.

This API key may spend 1 credit of maker/model a day (`key-model-credits-day`): 0.750001 credits spent,
0.15 credits held for requests under way, 0.099999 credits left; this request needs 0.15 credits.
The limit resets at 2026-11-25T00:00:00.000Z, in 43201 s.

Your tenant may spend 0.149999 credits a month (`tenant-credits-month`): 0 credits spent,
0 credits held for requests under way, 0.149999 credits left; this request needs 0.15 credits.
This request alone exceeds the limit: waiting does not help.

Your tenant may spend 2 credits in all (`tenant-credits-total`): 0.95 credits spent,
1 credit held for requests under way, 0.05 credits left; this request needs 0.15 credits.
Waiting does not help unless held amounts are refunded: top up the balance, or raise the limit,
by at least 0.1 credits.

Your tenant may spend 0 credits in all (`tenant-credits-total`): 0 credits spent,
0 credits held for requests under way, 0 credits left; this request needs 0.15 credits.
Waiting does not help: top up the balance, or raise the limit, by at least 0.15 credits.

This API key's balance (`key-credits-total`) is overdrawn by 3 credits: 0 credits spent,
0 credits held for requests under way; this request needs 0.15 credits.
Waiting does not help: top up the balance, or raise the limit, by at least 3.15 credits.

This API key's balance for maker/model (`key-model-credits-total`) is overdrawn by 2 credits:
1 credit spent, 3 credits held for requests under way; this request needs 0.15 credits.
Waiting does not help unless held amounts are refunded: top up the balance, or raise the limit,
by at least 2.15 credits.

Your tenant may spend 2 generations in all (`tenant-generations-total`): 1 generation spent,
1 generation held for requests under way, 0 generations left; this request needs 1 generation.
Waiting does not help unless held amounts are refunded: the limit has to be raised.

Your tenant may spend 1 generation in all (`tenant-generations-total`): 2 generations spent,
1 generation held for requests under way, 0 generations left; this request needs 1 generation.
Waiting does not help: the limit has to be raised.

Your tenant may spend 600 seconds of output a day (`tenant-output-seconds-day`): 590 seconds spent,
6 seconds held for requests under way, 4 seconds left; this request needs 5 seconds.
The limit resets at 2026-11-25T00:00:00.000Z, in 43201 s.

This API key may spend 1 second of output of maker/model a month (`key-model-output-seconds-month`):
0 seconds spent, 0 seconds held for requests under way, 1 second left; this request needs 5 seconds.
This request alone exceeds the limit: waiting does not help.

This API key may spend 9 seconds of output in all (`key-output-seconds-total`): 1 second spent,
4 seconds held for requests under way, 4 seconds left; this request needs 5 seconds.
Waiting does not help unless held amounts are refunded: the limit has to be raised.

Your tenant may spend 600 seconds of output a day (`tenant-output-seconds-day`), but this model's file
does not declare output_seconds. Waiting does not help: the operator has to declare them.
"""
REFUSED = [
    (one, wait_s, words.strip().replace("\n", " "))
    for (one, wait_s), words in zip(WAITS, WORDS.split("\n\n"), strict=True)
]
ROOMY: Final = standing(Limit(Scope(), Metric.IN_FLIGHT, 5), 4)


@pytest.mark.parametrize(("one", "retry_after_s", "words"), REFUSED)
def test_a_refusal_says_what_is_used_and_when_to_come_back(
    one: Standing, retry_after_s: int | None, words: str
) -> None:
    problem = refusal(one)
    assert (problem.detail, problem.retry_after_s) == (words, retry_after_s)
    assert problem.fault is (QUOTA_EXHAUSTED if retry_after_s is None else QUOTA_EXCEEDED)


def test_every_metric_that_can_be_set_has_its_words_checked() -> None:
    assert {one.limit.metric for one, _, _ in REFUSED} == set(OF_SUBMITS)


def test_what_fits_everywhere_is_not_refused() -> None:
    assert refused([]) is None
    assert refused([ROOMY]) is None
    assert refused([one._replace(wanted=0, undeclared=False) for one, _, _ in REFUSED]) is None


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(range(len(REFUSED)), 2)))
def test_the_limit_that_waits_longest_is_told_and_all_that_refuse_are_listed(one: int, other: int) -> None:
    violated = [REFUSED[one][0], REFUSED[other][0]]
    told = max(
        (REFUSED[one], REFUSED[other]),
        key=lambda each: (math.inf if each[1] is None else each[1], each[0].window_s or 0),
    )
    problem = refusal(violated[0], ROOMY, violated[1])
    assert (problem.retry_after_s, problem.detail) == told[1:]
    assert problem.violated == violated
    assert list(problem.standings) == [violated[0], ROOMY, violated[1]]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_limits_that_end_together_the_one_with_the_longer_window_is_told(order: int) -> None:
    """On a month's last day its day and the month end at one moment; the other days name the month."""
    last_day = periods_at(int(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp() * 1000), UTC)
    limits = (Limit(Scope(), Metric.GENERATIONS_DAY, 1), Limit(Scope(), Metric.CREDITS_MONTH, 150_000))
    usage = {(Scope(), label): sums((1, 0), (150_000, 0)) for label in last_day.labels}
    now_ms = last_day.day_ends_ms - 1000
    account = Account(Payer(KID), MODEL, now_ms, "UTC", last_day, limits, usage)
    problem = refusal(*account.standings(wanted())[::order])
    assert problem.retry_after_s == 1
    assert "tenant-credits-month" in problem.detail
    assert len(problem.violated) == 2


amounts = st.builds(Amounts, *[st.sampled_from([0, 1, 2, MICROCREDITS, 2 * MICROCREDITS])] * len(NAMES))


@given(
    st.builds(
        Limit,
        st.sampled_from([Scope(), KEY, OF_MODEL, KEY_OF_MODEL]),
        st.sampled_from(OF_SUBMITS),
        st.integers(0, 3) | st.integers(0, 3).map(lambda one: one * MICROCREDITS),
        st.none() | st.integers(1, 3),
    ),
    st.builds(Usage, amounts, amounts, tat_us=st.just(TAKEN_US)),
    st.sampled_from([0, 1, MICROCREDITS, 5 * MICROCREDITS]),
)
def test_every_sentence_names_its_policy_and_one_is_never_many(limit: Limit, used: Usage, price: int) -> None:
    words = sentence(standing(limit, used, price))
    assert f"`{limit.policy}`" in words
    assert (MODEL in words) == bool(limit.scope.model_id)
    assert not re.search(r"(?<![\d.])1 (generations|submits|requests|credits|seconds)\b", words)
    assert not re.search(r"(?<![\d.])0 (generation|submit|request|credit|second)\b", words)


def test_a_limit_is_shown_beside_its_usage() -> None:
    assert document(REFUSED[9][0]) == {
        "policy": "key-model-credits-day",
        "holder": "key",
        "model_id": MODEL,
        "metric": "credits-day",
        "unit": "microcredits",
        "limit": 1_000_000,
        "burst": None,
        "held": 150_000,
        "spent": 750_001,
        "remaining": 99_999,
        "period": "2026-11-24",
        "resets_at": "2026-11-25T00:00:00.000Z",
        "override_until": None,
    }
    shown = document(ROOMY)
    assert (shown["holder"], shown["model_id"], shown["unit"]) == ("tenant", None, "requests")
    assert (shown["period"], shown["resets_at"]) == (None, None)


def test_the_refusal_of_a_unit_of_bytes_names_those_that_there_are() -> None:
    with pytest.raises(LimitError, match="its unit is kB, MB, GB or TB, or none for bytes"):
        parse_limit("stored-bytes=10KB")
