"""The operation on running servers and workers."""

from collections.abc import Sequence
from typing import Any, Final

from app.admin.operation import Operation
from app.admin.running import processes as cases
from app.admin.session import AdminGateway
from app.db.processes import Process
from app.documents.admin.running.processes import RunningProcesses, running_process


def _list(_gateway: AdminGateway, found: Sequence[Process]) -> RunningProcesses:
    return {"processes": [running_process(one) for one in found]}


LIST: Final = Operation(
    name="list_processes",
    command="processes list",
    method="GET",
    path="/admin/v1/processes",
    scope="read",
    tag="system",
    text="Each renews its row every ten seconds, and removes it when it stops. One that was killed is listed"
    " for another minute.",
    function=cases.listed,
    document=_list,
    shape=RunningProcesses,
)
OPERATIONS: Final[tuple[Operation[Any], ...]] = (LIST,)
