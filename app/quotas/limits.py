"""Limits: whose, of which metric, and how much. Pure.

A limit belongs to a tenant, to one of its API keys or end users, for all models or for one, or to a client
token. It is one metric with one amount.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple, assert_never

from app.kit.text import quoted
from app.quotas.amounts import MICROCREDITS
from app.quotas.metrics import SETTABLE, Metric, Unit, Window

MOST: Final = 999_999_999  # of credits: in micro-credits still an integer of a structured field, 15 digits
EVERY_END_USER: Final = "*"
"""In place of a label: a limit of each end user that has no own one of that metric."""
_CREDITS: Final = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{1,6})?")  # Decimal itself takes 1_000, 1e3 and NaN


class LimitError(ValueError):
    """It is no limit; the message is for the operator."""


class Scope(NamedTuple):
    """Whose usage: a key's, an end user's or a client token's or, where all are empty, the whole tenant's.

    Of one model or, empty, of all. A key that was made by a rotation counts as the first of its line.
    """

    kid: str = ""
    model_id: str = ""
    end_user: str = ""
    token_id: str = ""

    @property
    def holder(self) -> str:
        """`tenant`, `key`, `end-user` or `token`."""
        if self.token_id:
            return "token"
        if self.end_user:
            return "end-user"
        return "key" if self.kid else "tenant"

    @property
    def is_of_client(self) -> bool:
        """Whether whoever holds a client token may see it: what its tenant and key have is not theirs."""
        return bool(self.token_id or self.end_user)


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` is of the metric's unit; None means no limit, though a default has one.

    `burst` is how many submits may come at once where the metric is a rate: by default a minute's.
    """

    scope: Scope
    metric: Metric
    amount: int | None
    burst: int | None = None

    @property
    def policy(self) -> str:
        """Its name in headers and refusals, such as `key-credits-day`."""
        of_model = "-model" if self.scope.model_id else ""
        return f"{self.scope.holder}{of_model}-{self.metric}"


class Payer(NamedTuple):
    """Whom a generation counts for beside its tenant.

    A key and, where it was made with a client token, that and the end user whom it names.
    """

    kid: str
    end_user: str = ""
    token_id: str = ""


def scopes_of(kid: str, model_id: str, end_user: str = "") -> tuple[Scope, ...]:
    """The scopes with sums that a generation counts in, always in the order in which rows are locked."""
    of_key = (Scope(), Scope("", model_id), Scope(kid, ""), Scope(kid, model_id))
    if not end_user:
        return of_key
    return (*of_key, Scope(end_user=end_user), Scope(model_id=model_id, end_user=end_user))


def parse_limit(text: str, scope: Scope = Scope()) -> Limit:  # noqa: B008 - a constant
    """`credits-day=5`, `submits-minute=60/10` (a burst of 10), `in-flight=none`; credits, not micro-credits.

    Raises:
        LimitError: it is not of that form.

    """
    name, separator, value = text.partition("=")
    known = ", ".join(SETTABLE)
    if not separator or name not in SETTABLE:
        raise LimitError(f"{quoted(text)} is not METRIC=AMOUNT; metrics are {known}.")
    metric = Metric(name)
    if value == "none":
        return Limit(scope, metric, None)
    amount_text, slash, burst_text = value.partition("/")
    if not slash:
        return Limit(scope, metric, _amount(text, amount_text, metric.unit))
    if metric.window is not Window.MINUTE:
        raise LimitError(f"{quoted(text)}: a burst belongs to submits-minute alone.")
    return Limit(scope, metric, _amount(text, amount_text, metric.unit), _count(text, burst_text, 1))


def _amount(text: str, number: str, unit: Unit) -> int:
    match unit:
        case Unit.MICROCREDITS:
            return parse_credits(number, least=0)
        case Unit.GENERATIONS | Unit.OUTPUT_SECONDS | Unit.SUBMITS | Unit.REQUESTS:
            return _count(text, number)
        case Unit.READS | Unit.CALLS | Unit.TOKENS:
            return _count(text, number)
        case _:
            assert_never(unit)


def parse_credits(text: str, *, least: int | None = None) -> int:
    """Micro-credits from credits with up to six decimals, such as `12.5`.

    Raises:
        LimitError: it is not of that form, or below `least` credits.

    """
    amount = Decimal(text) if _CREDITS.fullmatch(text) else None
    if amount is None or abs(amount) > MOST:
        raise LimitError(f"{quoted(text)} is no amount of credits: up to {MOST}, with at most six decimals.")
    if least is not None and amount < least:
        raise LimitError(f"{quoted(text)} is less than {least}.")
    return int(amount * MICROCREDITS)


def _count(text: str, number: str, least: int = 0) -> int:
    fits = number.isascii() and number.isdigit() and len(number) <= len(str(MOST))
    if not fits or not least <= int(number) <= MOST:
        raise LimitError(f"{quoted(text)}: {number[:20]!r} is not a whole number from {least} to {MOST}.")
    return int(number)
