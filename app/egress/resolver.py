"""Host name look-ups in threads of their own.

The event loop's resolver threads are few, and connections to RunComfy need them; a hostile name server that
never answers occupies a thread for as long as the system's resolver waits, up to half a minute.
"""

import asyncio
import ipaddress
import socket
import threading
from contextlib import suppress
from typing import Final

from app.egress.addresses import Address

_MAX_THREADS: Final = 512


class Resolver:
    """The system's resolver, called in daemon threads.

    A daemon thread that hangs does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._room = threading.BoundedSemaphore(_MAX_THREADS)

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Returns every address of a host in the system's order; an IP address stands for itself.

        Raises:
            OSError: the host has no address, or too many look-ups hang.

        """
        with suppress(ValueError):
            return [ipaddress.ip_address(host)]
        if not self._room.acquire(blocking=False):
            raise OSError("too many look-ups hang")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Address]] = loop.create_future()
        thread = threading.Thread(target=self._look_up, args=(host, port, loop, found), daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._room.release()
            raise OSError("no more threads") from error
        return await found

    def _look_up(
        self,
        host: str,
        port: int,
        loop: asyncio.AbstractEventLoop,
        found: "asyncio.Future[list[Address]]",
    ) -> None:
        answer: list[Address] | OSError
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer = list(dict.fromkeys(ipaddress.ip_address(row[4][0]) for row in rows))
        except (OSError, ValueError) as error:  # UnicodeError, a label that is too long, is a ValueError
            answer = error if isinstance(error, OSError) else OSError(str(error))
        finally:
            self._room.release()
        with suppress(RuntimeError):  # the event loop may have been closed meanwhile
            loop.call_soon_threadsafe(_tell, found, answer)


def _tell(found: "asyncio.Future[list[Address]]", answer: list[Address] | OSError) -> None:
    if found.done():  # the caller was cancelled meanwhile
        return
    if isinstance(answer, OSError):
        found.set_exception(answer)
    else:
        found.set_result(answer)
