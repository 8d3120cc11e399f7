"""Amounts: everything that is summed about generations, as one value, so that no unit is forgotten.

Pure. Every amount is a whole number, so that every sum is exact. Money is in micro-credits, 1,000,000 to a
credit.
"""

from decimal import Decimal
from typing import Final, NamedTuple, assert_never

from app.quotas.metrics import Unit

MICROCREDITS: Final = 1_000_000


class Amounts(NamedTuple):
    """What one or more generations use: their number, their price, and the seconds of output that they order.

    Members have no defaults, so that none is 0 by omission. Their names, after `held_` and `spent_`, are
    those of the columns in which usage is summed.
    """

    generations: int
    microcredits: int
    output_seconds: int

    def __add__(self, other: "Amounts") -> "Amounts":  # type: ignore[override]  # it is no sequence
        return Amounts(
            self.generations + other.generations,
            self.microcredits + other.microcredits,
            self.output_seconds + other.output_seconds,
        )

    def __sub__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            self.generations - other.generations,
            self.microcredits - other.microcredits,
            self.output_seconds - other.output_seconds,
        )

    def of(self, unit: Unit) -> int:
        """Returns the amount in a unit: a generation is also one submit and one request."""
        place = MEMBER_OF[unit]
        return 0 if place is None else self[place]


NAMES: Final = Amounts._fields
"""The names of the members, in the order of `Amounts`."""


def _place_of(unit: Unit) -> int | None:
    match unit:
        case Unit.GENERATIONS | Unit.SUBMITS | Unit.REQUESTS:
            return NAMES.index("generations")
        case Unit.MICROCREDITS:
            return NAMES.index("microcredits")
        case Unit.OUTPUT_SECONDS:
            return NAMES.index("output_seconds")
        case Unit.BYTES | Unit.READS | Unit.CALLS | Unit.TOKENS:
            return None
        case _:
            assert_never(unit)


MEMBER_OF: Final = {unit: _place_of(unit) for unit in Unit}
"""The place of each unit among the members; None where no amount is in it."""
NOTHING: Final = Amounts(*(0 for _ in NAMES))


def credits_text(microcredits: int) -> str:
    """Returns micro-credits as people read them, in credits: `0.15`, `12`, `-3`."""
    return f"{Decimal(microcredits) / MICROCREDITS:f}"


def ordered(microcredits: int, output_seconds: int | None) -> Amounts:
    """Returns what one generation takes of every limit; undeclared seconds count as 0."""
    return Amounts(generations=1, microcredits=microcredits, output_seconds=output_seconds or 0)


def undeclared(output_seconds: int | None) -> frozenset[Unit]:
    """Returns the units of which a model's file does not say how much a request orders."""
    return frozenset({Unit.OUTPUT_SECONDS}) if output_seconds is None else frozenset()


def amount_text(unit: Unit, amount: int) -> str:
    """Returns an amount as people set and read it: in credits, not micro-credits."""
    match unit:
        case Unit.MICROCREDITS:
            return credits_text(amount)
        case Unit.GENERATIONS | Unit.OUTPUT_SECONDS | Unit.SUBMITS | Unit.REQUESTS:
            return str(amount)
        case Unit.BYTES | Unit.READS | Unit.CALLS | Unit.TOKENS:
            return str(amount)
        case _:
            assert_never(unit)
