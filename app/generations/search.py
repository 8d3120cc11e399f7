"""Searching generations of all tenants, for the operator: by an index, or in bounded steps.

Each search begins with the filter that narrows most and has an index, and applies the others to what that
finds: to the newest `STEP` rows at a time, so that no search takes long, however rare what it looks for is.
It returns what it found, and where to go on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, NamedTuple, get_args

from sqlalchemy import ColumnElement, Connection, literal_column, select, tuple_

from app.auth.callers import forms_of
from app.auth.keys import Mode
from app.db.schema.tables import (
    HAS_CALLER_ADDRESS,
    HAS_END_USER,
    HAS_ERROR_CODE,
    IS_NOT_COMPLETED,
    generations,
)
from app.generations.lifecycle import State
from app.generations.store import Generation, generation_of
from app.kit.ids import first_of, is_id, moment_of
from app.kit.text import is_storable

STEP: Final = 2000
_FIRST_ID, _LAST_ID = "", "zzzz"  # below and above every id, in every collation
_MODES: Final[tuple[Mode, ...]] = get_args(Mode)
_ROW: Final = generations.c
_COLUMN_OF: Final = {
    "request_id": "id",
    "address": "caller_address",
    **{
        name: name
        for name in ("upstream_request_id", "tenant_id", "kid", "token_id", "end_user", "mode", "model_id")
    },
    **{name: name for name in ("state", "error_code", "price_version")},
}
"""The columns that the filters are compared with; the times are apart."""
_Conditions = Sequence[ColumnElement[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What to look for; all that is not None must match. Times are of the submit: from, and before."""

    request_id: str | None = None
    upstream_request_id: str | None = None
    tenant_id: str | None = None
    kid: str | None = None
    token_id: str | None = None
    end_user: str | None = None
    mode: Mode | None = None
    model_id: str | None = None
    state: State | None = None
    error_code: str | None = None
    price_version: str | None = None
    address: str | None = None
    from_ms: int | None = None
    before_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Generations, newest first. `before` is where to go on; None where there is nothing more.

    Rows may be fewer than asked for, even none, while there is more to search.
    """

    rows: Sequence[Generation]
    before: str | None


@dataclass(frozen=True, slots=True)
class _Index:
    """An index of generations: the filters whose columns it begins with, and the condition of its rows.

    `of_mode`: the mode comes with the tenant or the job. `by_creation`: its rows are ordered by
    `created_at_ms` and id, else by id alone, which is the same order. `is_one`: it finds one row.
    """

    filters: tuple[str, ...] = ()
    condition: str = ""
    of_mode: bool = False
    by_creation: bool = False
    is_one: bool = False


def _of_tenant(name: str, condition: str = "") -> _Index:
    return _Index(("tenant_id", name), condition, of_mode=True, by_creation=True)


_STATE: Final = _Index(("state",), IS_NOT_COMPLETED)
_INDEXES: Final = (
    _Index(("request_id",), is_one=True),
    _Index(("upstream_request_id",), of_mode=True, is_one=True),
    _of_tenant("token_id", "token_id IS NOT NULL"),
    _Index(("kid",)),
    _of_tenant("end_user", HAS_END_USER),
    _Index(("end_user",), HAS_END_USER),
    _Index(("address",), HAS_CALLER_ADDRESS),
    _Index(("error_code",), HAS_ERROR_CODE),
    _of_tenant("state"),
    _of_tenant("model_id"),
    _Index(("tenant_id",), of_mode=True, by_creation=True),
    _STATE,
    _Index(("model_id",)),
    _Index(("price_version",)),
    _Index(),
)
"""All that a search may begin with, the one that narrows most first; the last is the primary key."""


def search(connection: Connection, wanted: Filters, *, before: str | None = None, limit: int) -> Found:
    """Returns up to `limit` generations, newest first; with the id `before`, only older ones than that."""
    values = {name: getattr(wanted, name) for name in _COLUMN_OF if getattr(wanted, name) is not None}
    texts = [value for value in values.values() if isinstance(value, str)]
    if not all(map(is_storable, texts)) or not (before is None or is_id(before)):
        return Found((), None)
    index = next(one for one in _INDEXES if _fits(one, values))
    values |= {} if wanted.address is None else {"address": forms_of(wanted.address)}
    applied = {*index.filters, *(("mode",) if index.of_mode else ())}
    rest = {_COLUMN_OF[name]: value for name, value in values.items() if name not in applied}
    within = _within(wanted, before)
    ids: list[str] = []
    edge = ""  # the newest of the ids at which a range was left: all ranges are searched to there
    for where in _ranges(index, values, within):
        found, left_at = _searched(connection, index, where, rest, limit)
        ids += found
        edge = max(edge, left_at or "")
    shown = sorted((one for one in ids if one >= edge), reverse=True)
    if len(shown) > limit:
        shown = shown[:limit]
        edge = shown[-1]
    return Found(_rows(connection, shown), edge or None)


def _fits(index: _Index, values: Mapping[str, Any]) -> bool:
    return all(name in values for name in index.filters) and (
        index is not _STATE or values["state"] is not State.COMPLETED
    )


class _Within(NamedTuple):
    """The times that are wanted, and the place to go on, as bounds: from `low` on, and before `high`."""

    low: str
    high: str

    def by_creation(self) -> _Conditions:
        place = tuple_(_ROW.created_at_ms, _ROW.id)
        found: list[ColumnElement[Any]] = []
        if self.low != _FIRST_ID:
            found.append(_ROW.created_at_ms >= moment_of(self.low))
        if self.high != _LAST_ID:
            found.append(place < tuple_(moment_of(self.high), self.high))
        return found


def _within(wanted: Filters, before: str | None) -> _Within:
    low = _FIRST_ID if wanted.from_ms is None else first_of(wanted.from_ms)
    highs = [_LAST_ID if wanted.before_ms is None else first_of(wanted.before_ms)]
    return _Within(low, min([*highs, *([] if before is None else [before])]))


def _ranges(index: _Index, values: Mapping[str, Any], within: _Within) -> list[_Conditions]:
    """Returns the conditions of each range of the index that has to be searched: of each mode and address."""
    modes = [values["mode"]] if "mode" in values else _MODES
    choices = {name: [values[name]] for name in index.filters}
    choices |= {"mode": list(modes)} if index.of_mode else {}
    choices |= {"address": list(values["address"])} if "address" in index.filters else {}
    condition: _Conditions = [literal_column(index.condition)] if index.condition else []
    columns = [_ROW[_COLUMN_OF[name]] for name in choices]
    if index.by_creation or index.is_one:
        bounds = within.by_creation()
        return [
            [*condition, *bounds, *(column == value for column, value in zip(columns, chosen, strict=True))]
            for chosen in product(*choices.values())
        ]
    place = tuple_(*columns, _ROW.id)
    return [
        [*condition, place >= tuple_(*chosen, within.low), place < tuple_(*chosen, within.high)]
        for chosen in product(*choices.values())
    ]


def _searched(
    connection: Connection, index: _Index, where: _Conditions, rest: Mapping[str, Any], limit: int
) -> tuple[list[str], str | None]:
    """Returns the newest ids in a range, and the id at which it was left; None where that was its end."""
    columns = [_ROW.id, *(_ROW[name] for name in rest)]
    rows = select(*columns).where(*where)
    if index.is_one:
        ids = sorted(connection.scalars(rows.where(*_met(_ROW, rest)).limit(STEP)), reverse=True)
        return ids[:limit], ids[limit - 1] if len(ids) > limit else None
    first = [_ROW.created_at_ms] if index.by_creation else [_ROW[_COLUMN_OF[name]] for name in index.filters]
    rows = rows.order_by(*(column.desc() for column in first), _ROW.id.desc())
    if not rest:
        ids = list(connection.scalars(rows.limit(limit + 1)))
        return ids[:limit], ids[limit - 1] if len(ids) > limit else None
    step = rows.add_columns(*first).limit(STEP).subquery("step")
    order = [step.c[column.name].desc() for column in first]
    met = select(step.c.id).where(*_met(step.c, rest)).order_by(*order, step.c.id.desc()).limit(limit + 1)
    ids = list(connection.scalars(met))
    if len(ids) > limit:
        return ids[:limit], ids[limit - 1]
    return ids, connection.scalars(rows.offset(STEP - 1).limit(1)).first()


def _met(columns: Any, rest: Mapping[str, Any]) -> list[ColumnElement[Any]]:
    return [
        columns[name].in_(value) if isinstance(value, tuple) else columns[name] == value
        for name, value in rest.items()
    ]


def _rows(connection: Connection, ids: Sequence[str]) -> list[Generation]:
    if not ids:
        return []
    query = select(generations).where(_ROW.id.in_(ids))
    found = {row.id: generation_of(row) for row in connection.execute(query)}
    return [found[one] for one in ids if one in found]
