"""The operations on the dispatch of queued requests."""

from typing import Final

from app.admin import dispatch as cases
from app.admin.dispatch import Dispatch, DispatchStatus
from app.admin.operation import Operation
from app.admin.session import AdminGateway
from app.documents.admin import dispatch as documents
from app.documents.admin.dispatch import PausedDispatch, Queues
from app.errors import INVALID_CHANGE, TENANT_NOT_FOUND


def _document(_gateway: AdminGateway, one: Dispatch) -> PausedDispatch:
    return documents.paused_dispatch(one)


def _queues(_gateway: AdminGateway, found: DispatchStatus) -> Queues:
    return documents.queues(found)


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
