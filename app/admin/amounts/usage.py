"""Usage: what was held, spent, refunded and refused, by hour, day or month. It changes nothing.

The operator asks for all tenants or for one, by `of_tenants`; a tenant's own key asks for its tenant.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from pydantic import Field
from sqlalchemy import Connection

from app.admin import accounts
from app.admin.paging import cursor_of, place_in, unknown_cursor
from app.admin.session import AdminGateway
from app.admin.violations import refuse
from app.auth import keys
from app.auth.keys import Mode
from app.errors import INVALID_PARAMETER, FieldError
from app.quotas.limits import Payer
from app.quotas.sums import rollups, usage
from app.quotas.sums.usage import Answer, Group, Key, Question, Step

MAX_ROWS: Final = 1_000
"""The most rows on a page."""
_MAX_DAYS: Final = {Step.HOUR: 31, Step.DAY: 400, Step.MONTH: 3_700}
_FIRST, _LAST = date(2000, 1, 1), date(9000, 1, 1)
_MAX_LATE_MS: Final = 86_400_000
_NEVER_TOGETHER: Final = frozenset({Group.END_USER, Group.TOKEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Usage as it is asked for, not checked yet.

    The days are those of the tenant's time zone, of UTC where all tenants are asked for; by default they are
    those of this month until today. `only` are values that groups must have; `names` are what the caller's
    parameters for the two days are called, for errors.
    """

    mode: str
    by: Step = Step.DAY
    first: date | None = None
    last: date | None = None
    groups: Collection[Group] = ()
    only: Mapping[Group, str] = field(default_factory=dict)
    names: tuple[str, str] = ("from", "to")


async def report(
    gateway: AdminGateway,
    tenant_id: str | None,
    asked: Asked,
    *,
    after: Key | None = None,
    limit: int = MAX_ROWS,
) -> Answer:
    """Returns a page of the usage of one tenant, or of all (None): the rows after a key, if one is given.

    Raises:
        Problem: INVALID_PARAMETER.

    """
    now_ms = gateway.clock.now_ms()

    def read(connection: Connection) -> Answer:
        zone = usage.zone_of_tenant(connection, tenant_id)
        today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone.zone).date()
        question = _question(tenant_id, asked, today)
        if after is not None and not usage.is_key(question, after):
            raise unknown_cursor()
        return usage.answer(connection, question, zone, after=after, limit=limit)

    return await gateway.db.snapshot(read)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A page of usage as the operator asked for it, and the names of the tenants by their ids."""

    tenant_id: str | None
    asked: Asked
    answer: Answer
    tenants: Mapping[str, str]

    @property
    def next_cursor(self) -> str | None:
        """The cursor of the next page; None where this is the last."""
        return cursor_of(*self.answer.rows[-1].key) if self.answer.has_more else None


async def of_tenants(
    gateway: AdminGateway,
    *,
    tenant: str | None = None,
    mode: Mode = "live",
    by: Step = Step.DAY,
    first_day: date | None = None,
    last_day: date | None = None,
    group_by: Sequence[Group] | None = None,
    model_id: str | None = None,
    kid: str | None = None,
    end_user: str | None = None,
    token_id: str | None = None,
    outcome: str | None = None,
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = MAX_ROWS,
    cursor: str | None = None,
) -> Reported:
    """Returns what was held, spent, refunded and refused, with RunComfy's cost and the margin.

    Raises:
        Problem: INVALID_PARAMETER, TENANT_NOT_FOUND.

    """
    only = {
        Group.MODEL: model_id,
        Group.KEY: kid,
        Group.TOKEN: token_id,
        Group.END_USER: end_user,
        Group.OUTCOME: outcome,
    }
    asked = Asked(
        mode=mode,
        by=by,
        first=first_day,
        last=last_day,
        groups=group_by or (),
        only={group: value for group, value in only.items() if value is not None},
        names=("first_day", "last_day"),
    )
    after = None if cursor is None else place_in(cursor, int, *[str] * _number_of_groups(asked, tenant))
    tenant_id = await accounts.tenant_id_of(gateway, tenant)
    answer = await report(gateway, tenant_id, asked, after=after, limit=limit)
    return Reported(
        tenant_id=tenant_id, asked=asked, answer=answer, tenants=await accounts.tenant_names(gateway)
    )


async def pages_from(gateway: AdminGateway, first: Reported) -> AsyncIterator[Reported]:
    """Yields a page of usage and those after it."""
    yield first
    last = first.answer
    while last.has_more:
        last = await report(gateway, first.tenant_id, first.asked, after=last.rows[-1].key)
        yield replace(first, answer=last)


def _number_of_groups(asked: Asked, tenant: str | None) -> int:
    return len(set(asked.groups) - ({Group.TENANT} if tenant is not None else set()))


def count_refused(connection: Connection, rows: Sequence[Mapping[str, Any]], now_ms: int) -> None:
    """Counts refused calls in the usage of their tenants and keys; `rows` are those of `refusals`.

    Where the database was away for long, they are counted in the last day: earlier ones are summed already.
    """
    for row in rows:
        if not row["tenant_id"]:
            continue
        key = keys.find(connection, row["kid"])
        rollups.count(
            connection,
            row["tenant_id"],
            row["mode"],
            Payer(row["kid"] if key is None else key.root_kid),
            "",
            outcome=rollups.REFUSED,
            zone=usage.zone_of_tenant(connection, row["tenant_id"]).zone,
            at_ms=max(row["minute_ms"], now_ms - _MAX_LATE_MS),
            refused_calls=row["count"],
        )


def _question(tenant_id: str | None, asked: Asked, today: date) -> Question:
    last = asked.last or today
    first = asked.first or min(last, today).replace(day=1)
    groups = tuple(one for one in Group if one in asked.groups)
    of_first, of_last = asked.names
    errors = []
    if not _FIRST <= first <= last:
        errors.append(_wrong(of_first, f"must be a day from {_FIRST} to the last day, {last}"))
    elif last > _LAST:
        errors.append(_wrong(of_last, f"must be a day up to {_LAST}"))
    elif (last - first).days >= _MAX_DAYS[asked.by]:
        errors.append(
            _wrong(
                of_first,
                f"is more than {_MAX_DAYS[asked.by]} days before `{of_last}`, too many by {asked.by}",
            )
        )
    subjects = _NEVER_TOGETHER & {*groups, *asked.only}
    if len(subjects) > 1:
        errors.append(
            _wrong("group_by", "has end_user or token, not both: usage is kept of one or the other")
        )
    if subjects and asked.by is Step.HOUR:
        errors.append(
            _wrong("by", "must be day or month for end users and tokens, of whom hours are not kept")
        )
    if Group.TENANT in groups and tenant_id is not None:
        groups = tuple(one for one in groups if one is not Group.TENANT)
    refuse(INVALID_PARAMETER, errors)
    return Question(
        tenant_id=tenant_id,
        mode=asked.mode,
        first=first,
        last=last,
        by=asked.by,
        groups=groups,
        only=asked.only,
    )


def _wrong(name: str, detail: str) -> FieldError:
    return FieldError(f"#/query/{name}", name, f"`{name}` {detail}.")
