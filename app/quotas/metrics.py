"""Metrics: what can be limited. A metric is a unit, and the window in which it is counted.

Pure. `Metric` is the one table of them. Code that treats units or windows differently must match them and end
in `assert_never`: a new unit or window then does not type-check until every such place handles it.
"""

from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias


@unique
class Unit(StrEnum):
    """What is counted. The value is the unit's name in documents."""

    SUBMITS = "submits"
    REQUESTS = "requests"
    GENERATIONS = "generations"
    MICROCREDITS = "microcredits"
    OUTPUT_SECONDS = "output-seconds"
    """Seconds of video or sound that requests order, as their models' files say."""
    BYTES = "bytes"
    """Bytes of files that are kept."""
    READS = "reads"
    CALLS = "calls"
    TOKENS = "tokens"


@unique
class Window(StrEnum):
    """The span of time in which a unit is counted."""

    MINUTE = "minute"
    """A rate: so many a minute, of which a burst may come at once."""
    NOW = "now"
    """What is in flight, or kept, at this moment."""
    DAY = "day"
    MONTH = "month"
    TOTAL = "total"
    """All time: it never begins anew."""


RateUnit: TypeAlias = Literal[Unit.SUBMITS, Unit.READS, Unit.CALLS, Unit.TOKENS]
SummedUnit: TypeAlias = Literal[Unit.GENERATIONS, Unit.MICROCREDITS, Unit.OUTPUT_SECONDS]
SumWindow: TypeAlias = Literal[Window.DAY, Window.MONTH, Window.TOTAL]
_Row: TypeAlias = tuple[str, Unit, Window]


def _rate(name: str, unit: RateUnit) -> _Row:
    return name, unit, Window.MINUTE


def _in_flight(name: str) -> _Row:
    return name, Unit.REQUESTS, Window.NOW


def _kept(name: str) -> _Row:
    return name, Unit.BYTES, Window.NOW


def _sum(name: str, unit: SummedUnit, window: SumWindow) -> _Row:
    return name, unit, window


@unique
class Metric(StrEnum):
    """Every metric: its name in limits, its unit and its window.

    The functions above allow only pairs of unit and window that something counts: a rate is counted by GCRA,
    what is in flight from the live rows, bytes in rows of their own (`quotas.sums.stored`), and a sum as
    `Amounts` in the rows of usage.
    """

    unit: Unit
    window: Window

    SUBMITS_MINUTE = _rate("submits-minute", Unit.SUBMITS)
    IN_FLIGHT = _in_flight("in-flight")
    STORED_BYTES = _kept("stored-bytes")
    GENERATIONS_DAY = _sum("generations-day", Unit.GENERATIONS, Window.DAY)
    GENERATIONS_MONTH = _sum("generations-month", Unit.GENERATIONS, Window.MONTH)
    GENERATIONS_TOTAL = _sum("generations-total", Unit.GENERATIONS, Window.TOTAL)
    CREDITS_DAY = _sum("credits-day", Unit.MICROCREDITS, Window.DAY)
    CREDITS_MONTH = _sum("credits-month", Unit.MICROCREDITS, Window.MONTH)
    CREDITS_TOTAL = _sum("credits-total", Unit.MICROCREDITS, Window.TOTAL)
    OUTPUT_SECONDS_DAY = _sum("output-seconds-day", Unit.OUTPUT_SECONDS, Window.DAY)
    OUTPUT_SECONDS_MONTH = _sum("output-seconds-month", Unit.OUTPUT_SECONDS, Window.MONTH)
    OUTPUT_SECONDS_TOTAL = _sum("output-seconds-total", Unit.OUTPUT_SECONDS, Window.TOTAL)
    READS_MINUTE = _rate("reads-minute", Unit.READS)
    CALLS_MINUTE = _rate("calls-minute", Unit.CALLS)
    TOKENS_MINUTE = _rate("tokens-minute", Unit.TOKENS)

    if not TYPE_CHECKING:  # mypy would take `Metric(name)`, which finds a member, for a call of this

        def __new__(cls, name: str, unit: Unit, window: Window) -> Self:
            """Creates the member of a row of the table."""
            metric = str.__new__(cls, name)
            metric._value_ = name
            metric.unit, metric.window = unit, window
            return metric


_OF_SETTINGS: Final = frozenset({Metric.READS_MINUTE, Metric.CALLS_MINUTE, Metric.TOKENS_MINUTE})
SETTABLE: Final = tuple(metric for metric in Metric if metric not in _OF_SETTINGS)
"""The metrics that operators set limits on; limits on calls other than submits come from the settings."""
