"""The operation on the credentials for RunComfy."""

from collections.abc import Sequence
from typing import Final

from app.admin.operation import Operation
from app.admin.running import credentials as cases
from app.admin.running.credentials import CredentialStatus
from app.admin.session import AdminGateway
from app.documents.admin.running.credentials import Credential, Credentials
from app.documents.fields import iso_or_none
from app.upstream.breaker import Condition


def _document(_gateway: AdminGateway, found: Sequence[CredentialStatus]) -> Credentials:
    return {"credentials": [credential_document(one) for one in found]}


def credential_document(one: CredentialStatus) -> Credential:
    """Returns the document of a credential."""
    condition = one.health.condition(one.now_ms)
    return {
        "name": one.name,
        "mode": one.mode,
        "configured": one.configured,
        "condition": condition,
        "reason": None if condition is Condition.CLOSED else one.health.reason or None,
        "paused_until": iso_or_none(one.health.until_ms if condition is Condition.OPEN else None),
        "weight": one.weight,
        "concurrency": one.concurrency,
        "learnt_concurrency": None if one.capacity is None else one.capacity.at(one.now_ms),
        "live": one.live,
        "next_poll_at": iso_or_none(one.next_poll_at_ms),
    }


LIST: Final = Operation(
    name="list_credentials",
    command="credentials list",
    method="GET",
    path="/admin/v1/credentials",
    scope="read",
    tag="system",
    text="Their health is what servers stored last, within a few seconds.",
    function=cases.listed,
    document=_document,
    shape=Credentials,
)

OPERATIONS: Final = (LIST,)
