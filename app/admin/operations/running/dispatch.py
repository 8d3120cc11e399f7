"""The operations on the dispatch of queued requests."""

from collections.abc import Mapping
from typing import Any, Final

from app.admin.operation import Operation
from app.admin.running import dispatch as cases
from app.admin.running.dispatch import MODES, Dispatch, DispatchStatus
from app.admin.session import AdminGateway
from app.documents.admin.running.dispatch import PausedDispatch, PausedSince, Queue, Queues
from app.documents.fields import iso_or_none
from app.errors import INVALID_CHANGE, TENANT_NOT_FOUND
from app.generations.queue.backlog import Backlog


def _document(_gateway: AdminGateway, one: Dispatch) -> PausedDispatch:
    return {"tenant": one.tenant, "paused_since": _paused_since(one.paused_since_ms)}


def _queues(_gateway: AdminGateway, found: DispatchStatus) -> Queues:
    return {
        "paused_since": _paused_since(found.paused_since_ms),
        "queues": [queue_document(one, found.share(one)) for one in found.queues],
    }


def queue_document(one: Backlog, share: float) -> Queue:
    """Returns the document of a queue."""
    return {
        "tenant": one.tenant,
        "mode": one.mode,
        "queued": one.queued,
        "oldest_at": iso_or_none(one.oldest_at_ms),
        "in_flight": one.in_flight,
        "weight": one.weight,
        "share": round(share, 4),
        "sent": one.served,
        "paused": one.paused,
        "disabled": one.disabled,
    }


def _paused_since(at_ms: Mapping[Any, int | None]) -> PausedSince:
    live, test = (iso_or_none(at_ms.get(mode)) for mode in MODES)
    return {"live": live, "test": test}


STATUS: Final = Operation(
    name="get_dispatch",
    command="dispatch status",
    method="GET",
    path="/admin/v1/dispatch",
    scope="read",
    tag="dispatch",
    text="There is a queue for each tenant and mode that ever had a request that could be queued.",
    function=cases.status,
    document=_queues,
    shape=Queues,
)
PAUSE: Final = Operation(
    name="pause_dispatch",
    command="dispatch pause",
    method="POST",
    path="/admin/v1/dispatch/pause",
    scope="operate",
    tag="dispatch",
    text="Requests that may be queued are still accepted; others are refused until it is resumed.",
    function=cases.pause,
    document=_document,
    shape=PausedDispatch,
    faults=(INVALID_CHANGE, TENANT_NOT_FOUND),
)
RESUME: Final = Operation(
    name="resume_dispatch",
    command="dispatch resume",
    method="POST",
    path="/admin/v1/dispatch/resume",
    scope="operate",
    tag="dispatch",
    text="Queued requests are sent again within a second.",
    function=cases.resume,
    document=_document,
    shape=PausedDispatch,
    faults=(INVALID_CHANGE, TENANT_NOT_FOUND),
)

OPERATIONS: Final = (STATUS, PAUSE, RESUME)
