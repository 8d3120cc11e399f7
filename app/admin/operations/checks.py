"""The operation that runs doctor's checks on the server."""

from collections.abc import Sequence
from typing import Final

from app.admin.checks import doctor as cases
from app.admin.checks.database_checks import Check
from app.admin.operation import Operation
from app.admin.session import AdminGateway
from app.documents.admin.checks import Findings


def document(found: Sequence[Check]) -> Findings:
    """Returns the document of what the checks found."""
    return {"findings": [{"name": one.name, "level": one.level, "finding": one.finding} for one in found]}


def _document(_gateway: AdminGateway, found: Sequence[Check]) -> Findings:
    return document(found)


EXAMINE: Final = Operation(
    name="examine_gateway",
    command="doctor",
    method="GET",
    path="/admin/v1/checks",
    scope="read",
    tag="system",
    text="The server checks its own settings, database and credentials. It asks RunComfy for a request that"
    " cannot exist, which costs nothing.",
    function=cases.examine,
    document=_document,
    shape=Findings,
)

OPERATIONS: Final = (EXAMINE,)
