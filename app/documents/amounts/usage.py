"""Usage as it is told to a tenant and to the operator, as JSON and as CSV."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, NotRequired, TypedDict, cast

from app.documents.csv_rows import csv_text
from app.documents.fields import Moment, iso_or_none
from app.documents.schema import keywords
from app.kit.clock import iso
from app.quotas.sums.rollups import COUNTS
from app.quotas.sums.usage import Answer, Group, Question, Row, Step

_Change = Annotated[int, keywords("In micro-credits; below 0 where it took credits away.")]
_OF_OPERATORS: Final = frozenset({"cost_microusd"})
_TOLD: Final = tuple(name for name in COUNTS if name not in _OF_OPERATORS)
MEMBERS: Final = {
    Group.TENANT: "tenant",
    Group.MODEL: "model_id",
    Group.KEY: "kid",
    Group.END_USER: "end_user",
    Group.TOKEN: "token_id",
    Group.OUTCOME: "outcome",
}


class UsageSums(TypedDict):
    """What was entered in the ledger, by when it was entered."""

    held_generations: Annotated[int, keywords("Generations that were submitted, whose price was held.")]
    held_microcredits: int
    spent_generations: Annotated[int, keywords("Generations whose price was settled.")]
    spent_microcredits: int
    refunded_generations: Annotated[int, keywords("Generations whose price was given back.")]
    refunded_microcredits: int
    refused_calls: Annotated[int, keywords("Calls that were answered with an error; of no model.")]
    ended_generations: Annotated[int, keywords("Generations that came to their final state.")]
    added_microcredits: Annotated[int, keywords("Top-ups.")]
    adjusted_microcredits: Annotated[_Change, keywords("Adjustments, corrections of prices among them.")]


class UsageRow(UsageSums):
    """Sums of one period and group."""

    period: Annotated[str, keywords("The hour's start, the day or the month, as `by` says.")]
    model_id: NotRequired[str | None]
    kid: NotRequired[Annotated[str | None, keywords("The first key of its line of rotations.")]]
    end_user: NotRequired[str | None]
    token_id: NotRequired[str | None]
    outcome: NotRequired[
        Annotated[str | None, keywords("`submitted`, the state that ended it, or `refused`.")]
    ]


class Usage(TypedDict):
    """A page of a tenant's usage."""

    time_zone: Annotated[str, keywords("The time zone whose days and months these are.")]
    time_zone_since: Annotated[
        Moment | None, keywords("When the time zone was last changed: earlier days are of the one before.")
    ]
    by: Annotated[str, keywords(enum=[one.value for one in Step])]
    first_day: Annotated[str, keywords(format="date")]
    last_day: Annotated[str, keywords("It is included.", format="date")]
    group_by: list[str]
    rows: list[UsageRow]
    total: Annotated[UsageSums, keywords("The sums of all pages.")]
    next_cursor: str | None


class OperatorUsageSums(UsageSums):
    """What was entered in the ledger, and what the jobs cost."""

    cost_microusd: Annotated[int, keywords("RunComfy's own cost, as its results reported it.")]
    margin_microcredits: Annotated[
        int, keywords("Spent, less adjustments and RunComfy's cost; below 0 where that was more.")
    ]


class OperatorUsageRow(OperatorUsageSums, UsageRow):
    """Sums of one period and group."""

    tenant: NotRequired[str | None]


class OperatorUsage(TypedDict):
    """A page of the usage of one tenant, or of all."""

    time_zone: Annotated[
        str | None, keywords("The time zone whose days and months these are; null: each tenant's own.")
    ]
    time_zone_since: Annotated[
        Moment | None, keywords("When the time zone was last changed: earlier days are of the one before.")
    ]
    by: Annotated[str, keywords(enum=[one.value for one in Step])]
    first_day: Annotated[str, keywords(format="date")]
    last_day: Annotated[str, keywords("It is included.", format="date")]
    group_by: list[str]
    rows: list[OperatorUsageRow]
    total: Annotated[OperatorUsageSums, keywords("The sums of all pages.")]
    next_cursor: str | None


def usage(answer: Answer, next_cursor: str | None) -> dict[str, Any]:
    """Returns a tenant's usage."""
    return _usage(answer, next_cursor, _TOLD, {})


def usage_of_operators(answer: Answer, next_cursor: str | None, tenants: Mapping[str, str]) -> OperatorUsage:
    """Returns usage with RunComfy's cost and the margin; `tenants` are the names of tenants by their ids."""
    return cast("OperatorUsage", _usage(answer, next_cursor, COUNTS, tenants))


def usage_csv(answer: Answer, *, tenants: Mapping[str, str] | None = None) -> str:
    """Returns usage as CSV; with RunComfy's cost and the margin where `tenants` is given, for operators."""
    names = _TOLD if tenants is None else (*COUNTS, "margin_microcredits")
    groups = [MEMBERS[one] for one in answer.question.groups]
    return csv_text(_csv_rows(answer, groups, names, tenants or {}))


def _csv_rows(
    answer: Answer, groups: Sequence[str], names: Sequence[str], tenants: Mapping[str, str]
) -> Iterable[Sequence[Any]]:
    yield ["period", *groups, *names]
    for row in answer.rows:
        told = _row(answer.question, row, COUNTS, tenants)
        yield [told["period"], *(told[one] for one in groups), *(told[one] for one in names)]


def _usage(
    answer: Answer, next_cursor: str | None, names: Sequence[str], tenants: Mapping[str, str]
) -> dict[str, Any]:
    question = answer.question
    return {
        "time_zone": answer.time_zone,
        "time_zone_since": iso_or_none(answer.time_zone_since_ms),
        "by": question.by.value,
        "first_day": question.first.isoformat(),
        "last_day": question.last.isoformat(),
        "group_by": [one.value for one in question.groups],
        "rows": [_row(question, one, names, tenants) for one in answer.rows],
        "total": _sums(answer.total, names),
        "next_cursor": next_cursor,
    }


def _row(question: Question, row: Row, names: Sequence[str], tenants: Mapping[str, str]) -> dict[str, Any]:
    period, *values = row.key
    told: dict[str, Any] = {"period": period_text(question.by, int(period))}
    for group, value in zip(question.groups, values, strict=True):
        shown = tenants.get(str(value), str(value)) if group is Group.TENANT else value
        told[MEMBERS[group]] = shown or None
    return told | _sums(row.counts, names)


def operator_sums(counts: Mapping[str, int]) -> OperatorUsageSums:
    """Returns sums with RunComfy's cost and the margin."""
    return cast("OperatorUsageSums", _sums(counts, COUNTS))


def _sums(counts: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    told = {name: counts[name] for name in names}
    if "cost_microusd" in told:
        charged = counts["spent_microcredits"] - counts["adjusted_microcredits"]
        told["margin_microcredits"] = charged - counts["cost_microusd"]
    return told


def period_text(by: Step, period: int) -> str:
    """Returns a period as documents have it: `2026-11-30T13:00:00.000Z`, `2026-11-30` or `2026-11`."""
    if by is Step.HOUR:
        return iso(period)
    if by is Step.MONTH:
        return f"{period // 100:04}-{period % 100:02}"
    return f"{period // 10_000:04}-{period // 100 % 100:02}-{period % 100:02}"
