"""Comparing the stored bytes that are counted with the rows of files and copies that they are the sums of."""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import Connection, func, literal_column, select, union_all

from app.db.schema.asset_states import IS_STORED
from app.db.schema.tables import assets, files, stored_bytes, tenants
from app.quotas.limits import Payer
from app.quotas.sums.stored import counted_in

_Place = tuple[str, str, str, str]
"""A tenant's id, its mode, and of whom the sum is: a key, an end user, or, with neither, all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongSum:
    """A sum that is not that of its rows. `subject` is of whom: `acme live`, `acme live key 4f…`."""

    subject: str
    counted: int
    should: int


def compared(connection: Connection) -> tuple[int, list[WrongSum]]:
    """Returns how many sums there are, and those that are wrong, in the order of tenants.

    The connection sees one unchanging state.
    """
    should = _sums_of_rows(connection)
    counted: Counter[_Place] = Counter()
    for *place, size in connection.execute(select(stored_bytes)):
        tenant_id, mode, kid, end_user = place
        counted[tenant_id, mode, kid, end_user] = size
    of_all = should.keys() | counted.keys()
    wrong = sorted(one for one in of_all if counted[one] != should[one])
    tenant_ids = {one[0] for one in wrong}
    known = select(tenants.c.id, tenants.c.name)
    names = {tenant_id: name for tenant_id, name in connection.execute(known) if tenant_id in tenant_ids}
    return len(of_all), [
        WrongSum(subject=_subject(one, names), counted=counted[one], should=should[one]) for one in wrong
    ]


def _sums_of_rows(connection: Connection) -> Counter[_Place]:
    # An upload counts from before its bytes are stored until its row is gone; a copy while it is `stored`.
    of_files = select(files.c.tenant_id, files.c.mode, files.c.kid, files.c.end_user, files.c.bytes)
    of_copies = select(
        assets.c.tenant_id, assets.c.mode, assets.c.kid, assets.c.end_user, assets.c.size_bytes
    ).where(literal_column(IS_STORED))
    every = union_all(of_files, of_copies).subquery()
    payer = (every.c.tenant_id, every.c.mode, every.c.kid, every.c.end_user)
    sums: Counter[_Place] = Counter()
    for *one, size in connection.execute(select(*payer, func.sum(every.c.bytes)).group_by(*payer)):
        tenant_id, mode, kid, end_user = one
        for scope in counted_in(Payer(kid, end_user or "")):
            sums[tenant_id, mode, *scope] += int(size)
    return sums


def _subject(place: _Place, names: dict[str, str]) -> str:
    tenant_id, mode, kid, end_user = place
    who = f" key {kid}" if kid else f" end user {end_user}" if end_user else ""
    return f"{names.get(tenant_id, tenant_id)} {mode}{who}"
