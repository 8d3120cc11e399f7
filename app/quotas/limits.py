"""Limits: whose, on which metric, and how much. Pure.

A limit belongs to a tenant, to one of its API keys or end users, or to a client token; it is for all models
or for one. It has one metric and one amount.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple, Protocol, assert_never

from app.kit.text import quoted
from app.quotas.amounts import MICROCREDITS
from app.quotas.metrics import SETTABLE, Metric, Unit, Window

# Of credits: in micro-credits still an integer of a structured field, 15 digits.
MAX_AMOUNT: Final = 999_999_999
MAX_BYTES: Final = 999_999_999_999_999
EVERY_END_USER: Final = "*"
"""Stands for an end user in limits of each end user that has no limit of its own for that metric."""
_CREDITS: Final = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{1,6})?")  # Decimal itself takes 1_000, 1e3 and NaN


_SIZE: Final = re.compile(r"([0-9]{1,15})(kB|MB|GB|TB|)")
_UNITS: Final = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class LimitError(ValueError):
    """A text is not a limit; the message tells the operator why."""


class Scope(NamedTuple):
    """Whose usage is counted: a key's, an end user's, a client token's or, where all are empty, the tenant's.

    It is the usage of one model, or of all where `model_id` is empty. A key that was made by a rotation
    counts as the first key of its chain (`root_kid`).
    """

    kid: str = ""
    model_id: str = ""
    end_user: str = ""
    token_id: str = ""

    @property
    def holder(self) -> str:
        """Whose it is: `tenant`, `key`, `end-user` or `token`."""
        if self.token_id:
            return "token"
        if self.end_user:
            return "end-user"
        return "key" if self.kid else "tenant"

    @property
    def is_of_client(self) -> bool:
        """Whether a page with a client token may see it: it may not see the usage of its tenant and key."""
        return bool(self.token_id or self.end_user)


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of one scope on one metric.

    `amount` is in the metric's unit; None is no limit, even where a default has one. `burst` is how many
    submits may come at once where the metric is a rate; None is as many as a minute allows. `until_ms` is
    when it ends, where it is a temporary override.
    """

    scope: Scope
    metric: Metric
    amount: int | None
    burst: int | None = None
    until_ms: int | None = None

    @property
    def place(self) -> tuple[str, str, str, str]:
        """The second part of its place in the table of limits; the first is whose account it limits."""
        return self.scope.kid, self.scope.model_id, self.scope.end_user, str(self.metric)

    @property
    def policy(self) -> str:
        """The limit's name in headers and refusals, such as `key-credits-day`."""
        of_model = "-model" if self.scope.model_id else ""
        return f"{self.scope.holder}{of_model}-{self.metric}"


class Payer(NamedTuple):
    """Whose limits a generation counts against, besides its tenant's.

    It is a key and, where the submit was made with a client token, that token and the end user that it names.
    """

    kid: str
    end_user: str = ""
    token_id: str = ""


@lru_cache(maxsize=4_096)
def scopes_of(kid: str, model_id: str, end_user: str = "") -> tuple[Scope, ...]:
    """Returns the scopes in which a generation is summed, always in the same order."""
    of_key = (Scope(), Scope("", model_id), Scope(kid, ""), Scope(kid, model_id))
    if not end_user:
        return of_key
    return (*of_key, Scope(end_user=end_user), Scope(model_id=model_id, end_user=end_user))


def parse_limit(text: str, scope: Scope = Scope()) -> Limit:  # noqa: B008 - a constant
    """Returns the limit that a text says.

    Such as `credits-day=5` (credits, not micro-credits), `submits-minute=60/10` (with a burst of 10) or
    `in-flight=none` (no limit, even where a default has one).

    Raises:
        LimitError: the text does not have this form.

    """
    name, separator, value = text.partition("=")
    known = ", ".join(SETTABLE)
    if not separator or name not in SETTABLE:
        raise LimitError(f"{quoted(text)} is not METRIC=AMOUNT; metrics are {known}.")
    metric = Metric(name)
    if value == "none":
        return Limit(scope, metric, None)
    amount_text, slash, burst_text = value.partition("/")
    if metric is Metric.STORED_BYTES and scope.model_id:
        raise LimitError(f"{quoted(text)}: files are of no model, so this limit has none.")
    if not slash:
        return Limit(scope, metric, _amount(text, amount_text, metric.unit))
    if metric.window is not Window.MINUTE:
        raise LimitError(f"{quoted(text)}: only submits-minute can have a burst.")
    return Limit(scope, metric, _amount(text, amount_text, metric.unit), _count(text, burst_text, 1))


def _amount(text: str, number: str, unit: Unit) -> int:
    match unit:
        case Unit.MICROCREDITS:
            return parse_credits(number, minimum=0)
        case Unit.GENERATIONS | Unit.OUTPUT_SECONDS | Unit.SUBMITS | Unit.REQUESTS:
            return _count(text, number)
        case Unit.BYTES:
            return _bytes(text, number)
        case Unit.READS | Unit.CALLS | Unit.TOKENS:
            return _count(text, number)
        case _:
            assert_never(unit)


def parse_credits(text: str, *, minimum: int | None = None) -> int:
    """Returns the micro-credits in a text of credits with up to six decimals, such as `12.5`.

    Raises:
        LimitError: the text does not have this form, or says less than `least` credits.

    """
    amount = Decimal(text) if _CREDITS.fullmatch(text) else None
    if amount is None or abs(amount) > MAX_AMOUNT:
        raise LimitError(
            f"{quoted(text)} is not an amount of credits: use at most {MAX_AMOUNT}, with up to six decimals."
        )
    if minimum is not None and amount < minimum:
        raise LimitError(f"{quoted(text)} is less than {minimum}.")
    return int(amount * MICROCREDITS)


def _count(text: str, number: str, minimum: int = 0) -> int:
    fits = number.isascii() and number.isdigit() and len(number) <= len(str(MAX_AMOUNT))
    if not fits or not minimum <= int(number) <= MAX_AMOUNT:
        raise LimitError(
            f"{quoted(text)}: {number[:20]!r} is not a whole number from {minimum} to {MAX_AMOUNT}."
        )
    return int(number)


def _bytes(text: str, number: str) -> int:
    """Returns a number of bytes, which may be written with a decimal unit: `5GB`."""
    found = _SIZE.fullmatch(number)
    amount = int(found[1]) * _UNITS[found[2]] if found is not None else None
    if amount is None or amount > MAX_BYTES:
        raise LimitError(
            f"{quoted(text)}: {number[:20]!r} is not a number of bytes up to {MAX_BYTES}, such as 500MB;"
            " its unit is kB, MB, GB or TB, or none for bytes."
        )
    return amount


class DeclaringModel(Protocol):
    """A model of the catalogue, as far as limits ask it."""

    @property
    def model_id(self) -> str:
        """Its id."""

    @property
    def output_seconds(self) -> object | None:
        """How many seconds of output a request orders; None where the model's file does not say."""


def refused_models(models: Iterable[DeclaringModel], limits: Iterable[Limit]) -> list[str]:
    """Returns the ids of the models that a limit refuses: their files declare nothing of its unit."""
    of_seconds = [one for one in limits if one.amount is not None and one.metric.unit is Unit.OUTPUT_SECONDS]
    return [
        model.model_id
        for model in models
        if model.output_seconds is None
        and any(one.scope.model_id in {"", model.model_id} for one in of_seconds)
    ]
