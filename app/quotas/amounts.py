"""Amounts of all that is summed, as one value: hold, spend, limit, usage and price move together.

Pure. Whole numbers alone, so that every sum is exact. Money is micro-credits, 1,000,000 to a credit.
"""

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Final, assert_never

from app.quotas.metrics import Unit

MICROCREDITS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Amounts:
    """What generations amount to. Every member is named wherever one is made: nothing is nought by omission.

    The members' names are those of the columns in which usage is summed, after `held_` and `spent_`.
    """

    generations: int
    microcredits: int
    output_seconds: int

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(*(getattr(self, name) + getattr(other, name) for name in NAMES))

    def __sub__(self, other: "Amounts") -> "Amounts":
        return Amounts(*(getattr(self, name) - getattr(other, name) for name in NAMES))

    def of(self, unit: Unit) -> int:
        """How much of that unit it is: a generation is also one submit and one request."""
        match unit:
            case Unit.GENERATIONS | Unit.SUBMITS | Unit.REQUESTS:
                return self.generations
            case Unit.MICROCREDITS:
                return self.microcredits
            case Unit.OUTPUT_SECONDS:
                return self.output_seconds
            case Unit.READS | Unit.CALLS | Unit.TOKENS:
                return 0
            case _:
                assert_never(unit)


NAMES: Final = tuple(field.name for field in fields(Amounts))
"""The members, in the order of `Amounts`."""
NOTHING: Final = Amounts(*(0 for _ in NAMES))


def credits_text(microcredits: int) -> str:
    """Credits for people: `0.15`, `12`, `-3`."""
    return f"{Decimal(microcredits) / MICROCREDITS:f}"


def ordered(microcredits: int, output_seconds: int | None) -> Amounts:
    """Returns what one generation takes of every limit; undeclared seconds count as 0."""
    return Amounts(generations=1, microcredits=microcredits, output_seconds=output_seconds or 0)


def undeclared(output_seconds: int | None) -> frozenset[Unit]:
    """Returns the units of which a model's file does not say how much a request orders."""
    return frozenset({Unit.OUTPUT_SECONDS}) if output_seconds is None else frozenset()


def amount_text(unit: Unit, amount: int) -> str:
    """An amount for people, as it is set: credits, not micro-credits."""
    match unit:
        case Unit.MICROCREDITS:
            return credits_text(amount)
        case Unit.GENERATIONS | Unit.OUTPUT_SECONDS | Unit.SUBMITS | Unit.REQUESTS:
            return str(amount)
        case Unit.READS | Unit.CALLS | Unit.TOKENS:
            return str(amount)
        case _:
            assert_never(unit)
