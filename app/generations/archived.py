"""Archived generations: where they went, and the Idempotency-Keys that they keep."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, select

from app.auth.keys import Mode
from app.db.schema.tables import archive_batches, archived_requests
from app.db.statements.prepared import Prepared
from app.errors import REQUEST_ARCHIVED, Problem
from app.kit.clock import iso

_FOUND: Final = select(
    archived_requests.c.id,
    archived_requests.c.tenant_id,
    archived_requests.c.mode,
    archive_batches.c.file,
    archive_batches.c.at_ms,
).join(archive_batches, archive_batches.c.id == archived_requests.c.batch_id)
_BY_ID: Final = Prepared(_FOUND.where(archived_requests.c.id == bindparam("of_id")))
_BY_KEY: Final = Prepared(
    _FOUND.where(
        archived_requests.c.tenant_id == bindparam("tenant"),
        archived_requests.c.key_space == bindparam("space"),
        archived_requests.c.idempotency_key == bindparam("key"),
    )
)


@dataclass(frozen=True, slots=True)
class Archived:
    """An archived generation: whose it was, its file in the archive, and when it was archived."""

    id: str
    tenant_id: str
    mode: Mode
    file: str
    at_ms: int

    def problem(self, words: str = "The request") -> Problem:
        """Returns the problem that says where it went."""
        detail = f"{words} {self.id} was archived on {iso(self.at_ms)[:10]}, in {self.file}."
        return Problem(REQUEST_ARCHIVED, detail, extra={"request_id": self.id})


def find(connection: Connection, generation_id: str) -> Archived | None:
    """Returns the archived generation of this id; None where there is none."""
    row = _BY_ID.one_or_none(connection, {"of_id": generation_id})
    return None if row is None else Archived(*row)


def find_by_key(
    connection: Connection, tenant_id: str, idempotency_key: str, *, key_space: str = ""
) -> Archived | None:
    """Returns the tenant's archived generation with this Idempotency-Key in this namespace; None: none."""
    wanted = {"tenant": tenant_id, "space": key_space, "key": idempotency_key}
    row = _BY_KEY.one_or_none(connection, wanted)
    return None if row is None else Archived(*row)
