"""A server starts its successor, and stops once that one serves from the same sockets: no call is refused.

The successor runs the command of its predecessor anew: with the code that is there now, and with the files of
settings. It is given the listening sockets, on SQLite the lock that makes a server the only one on a file,
and one end of a channel, on which it says that it serves. Until then its predecessor goes on as before, and
where the successor ends or says nothing, it just stays. For a moment both work on one database, as servers
on PostgreSQL do: what a process has begun belongs to it by leases in rows and locks on files.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from app.kit.log import get_logger
from app.kit.tasks import Tasks

_TOLD: Final = "_REELGATE_PREDECESSOR"
_SERVES: Final = b"serves"
_NOTHING: Final = b"nothing in time"
_PATIENCE_S: Final = 120.0
_END_S: Final = 60.0  # for what a successor began that serves too late: as long as the units give any server
_INIT: Final = 1
_log = get_logger("succession")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inheritance:
    """What a successor is given by its predecessor: descriptors of sockets, of a lock, and the channel.

    The `kept` sockets are those that a third process keeps open, as systemd does: they outlive every server.
    """

    parent: int
    sockets: tuple[int, ...]
    kept: frozenset[int]
    lock: int | None
    channel: socket.socket

    def is_shared(self) -> bool:
        """Returns whether the predecessor lives, which may listen on the sockets itself."""
        return os.getppid() == self.parent

    def tell(self) -> bool:
        """Tells the predecessor that this process serves; returns whether it was still there to hear that."""
        try:
            self.channel.sendall(_SERVES)
        except OSError:
            return False
        finally:
            self.channel.close()
        return True


def inherited() -> Inheritance | None:
    """Returns what this process was given; None where it is no successor.

    It forgets what it was told, and keeps the descriptors from its own children.
    """
    told = os.environ.pop(_TOLD, "")
    if not told:
        return None
    parent, channel, lock, kept, *sockets = (int(one) for one in told.split(","))
    if parent != os.getppid():
        return None
    given = Inheritance(
        parent=parent,
        sockets=tuple(sockets),
        kept=frozenset(sockets[:kept]),
        lock=lock if lock >= 0 else None,
        channel=socket.socket(fileno=channel),
    )
    for one in (channel, *sockets, *([lock] if lock >= 0 else [])):
        os.set_inheritable(one, False)  # noqa: FBT003 - its one parameter
    return given


class Succession:
    """Replaces this server when it is asked to, one successor at a time.

    `sockets` returns the descriptors that it listens on: those that a third process keeps, and its own.
    `lock` is that of the database file. `hand_on` is called once the successor serves, `tell` with why it
    does not. `refusal` is why this server may have no successor; None where it may.
    """

    def __init__(
        self,
        tasks: Tasks,
        *,
        sockets: Callable[[], tuple[list[int], list[int]]],
        lock: int | None,
        hand_on: Callable[[], None],
        tell: Callable[[str], Coroutine[Any, Any, None]],
        refusal: str | None = None,
    ) -> None:
        self._tasks = tasks
        self._refusal = "a container ends with its first process." if os.getpid() == _INIT else refusal
        self._sockets = sockets
        self._lock = lock
        self._hand_on = hand_on
        self._tell = tell
        self.successor: subprocess.Popen[bytes] | None = None
        self._is_begun = False
        self._is_served = False  # by the successor
        self._is_over = False

    def begin(self) -> None:
        """Starts a successor, unless one is starting or this server stops."""
        if self._refusal is not None:
            _log.error("No successor was started.", reason=self._refusal)
            self._tasks.start(self._tell(self._refusal), name="succession")
        elif not self._is_begun and not self._is_over:
            self._is_begun = True
            self._tasks.start(self._replace(), name="succession")

    def leave(self) -> None:
        """Ends a successor that does not serve yet: this server was told to stop, so nobody is to serve."""
        self._is_over = True
        if self.successor is not None and not self._is_served:
            self.successor.terminate()

    async def _replace(self) -> None:
        try:
            await self._try_to_replace()
        finally:
            self._is_begun = False

    async def _try_to_replace(self) -> None:
        if self._is_over:
            return
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        with ours:
            try:
                with theirs:
                    self.successor = coming = self._start(theirs.fileno())
            except OSError as error:
                _log.error("No successor could be started; this server goes on.", error=str(error))
                await self._tell(f"no successor could be started: {error}.")
                return
            _log.info("A successor was started.", pid=coming.pid)
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    said = await asyncio.get_running_loop().sock_recv(ours, len(_SERVES))
            except TimeoutError:
                said = _NOTHING
            except asyncio.CancelledError:
                coming.kill()  # it did not end when this server was told to stop
                raise
        if said == _SERVES and not self._is_over:
            self._is_served = self._is_over = True
            _log.info("The successor serves; this server stops.", pid=coming.pid)
            _tell_systemd(f"MAINPID={coming.pid}")
            self._hand_on()
            return
        if said == _NOTHING:
            coming.terminate()  # it cannot say any more that it serves, and may just have begun to
        code = await asyncio.to_thread(_ended, coming)
        self.successor = None
        if not self._is_over:
            _log.error("The successor does not serve; this server goes on.", pid=coming.pid, exit_code=code)
            await self._tell(f"its successor ended with code {code}; the log says why.")

    def _start(self, channel: int) -> "subprocess.Popen[bytes]":
        kept, own = self._sockets()
        lock = -1 if self._lock is None else self._lock
        told = ",".join(str(one) for one in (os.getpid(), channel, lock, len(kept), *kept, *own))
        given = [channel, *kept, *own] + ([] if self._lock is None else [self._lock])
        return subprocess.Popen(  # noqa: S603 - the command that this process was started by
            [sys.executable, *sys.orig_argv[1:]], env={**os.environ, _TOLD: told}, pass_fds=given
        )


def _ended(process: "subprocess.Popen[bytes]") -> int:
    """Ends a process that has not ended by itself, and returns its exit code."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(_END_S)
    process.kill()
    return process.wait()


def _tell_systemd(what: str) -> None:
    """Tells systemd, where it has started this process and listens: see sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address.startswith(("/", "@")):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.connect(address.replace("@", "\0", 1))
            one.sendall(what.encode())
