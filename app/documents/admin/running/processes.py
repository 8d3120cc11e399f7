"""Running servers and workers, as operators read them."""

from typing import Annotated, TypedDict

from app.db.processes import Process, Role
from app.documents.fields import Moment
from app.documents.schema import keywords
from app.kit.clock import iso


class RunningProcess(TypedDict):
    """A server or worker that runs."""

    role: Role
    host: Annotated[str, keywords("The name of its machine or container.")]
    pid: Annotated[int, keywords("Its process id there.")]
    version: str
    schema: Annotated[str, keywords("The newest migration that it knows.")]
    started_at: Moment
    seen_at: Moment
    settings_read_at: Annotated[
        Moment, keywords("When it read its settings last: at its start, or by a reload.")
    ]
    settings_fault: Annotated[str | None, keywords("Why the last reload changed nothing; null: it was made.")]


class RunningProcesses(TypedDict):
    """The servers and workers that run, the oldest first."""

    processes: list[RunningProcess]


def running_process(one: Process) -> RunningProcess:
    """Returns what operators read of a process."""
    return {
        "role": one.role,
        "host": one.host,
        "pid": one.pid,
        "version": one.version,
        "schema": one.schema,
        "started_at": iso(one.started_at_ms),
        "seen_at": iso(one.seen_at_ms),
        "settings_read_at": iso(one.settings_at_ms),
        "settings_fault": one.settings_fault,
    }
