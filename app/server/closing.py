"""Closing a port without losing a call: who has connected is served, who comes now is refused.

When a listening socket is closed, the kernel resets the connections that wait to be accepted. A proxy has
sent its call down such a connection already, may not send a submit again, and answers 502. So new connections
are held off first, by a filter that drops what begins one; those that wait are accepted; then it is closed.
A caller who was held off is refused when the kernel repeats the packet, a second later, and a proxy then asks
another server.
"""

import asyncio
import ctypes
import socket
import struct
from collections.abc import Iterable
from typing import Final

_SO_ATTACH_FILTER: Final = 26  # of Linux; the module `socket` has no name for it
_FLAGS, _SYN, _SYN_OR_ACK = 13, 0x02, 0x12  # where the flags of TCP stand, and two of them
_DROP, _KEEP = 0, 0xFFFF_FFFF
_PROGRAM: Final = b"".join(
    struct.pack("HBBI", *one)
    for one in (
        (0x30, 0, 0, _FLAGS),  # load the byte
        (0x54, 0, 0, _SYN_OR_ACK),  # and
        (0x15, 0, 1, _SYN),  # where it is SYN alone, the next one, else the one behind
        (0x06, 0, 0, _DROP),
        (0x06, 0, 0, _KEEP),
    )
)
PACE_S: Final = 0.05
"""In this time what has arrived is read."""
_PATIENCE_S: Final = 2.0
_QUEUED_AT: Final = 24  # in struct tcp_info: of a listening socket, how many wait to be accepted


async def accept_the_last(listening: Iterable[int]) -> None:
    """Holds new connections off from these descriptors, and waits until all that are there were accepted.

    Where the system knows no such filters it does nothing.
    """
    held = [copy for one in listening if (copy := _held_off(one)) is not None]
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await asyncio.sleep(PACE_S * bool(held))  # for those whose handshake is under way
            while any(queued(one) for one in held):  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(PACE_S)
    except TimeoutError:
        pass  # a process that is held up for so long loses them, as it would without this
    finally:
        for one in held:
            one.close()


def _held_off(descriptor: int) -> socket.socket | None:
    """Returns a copy of the socket, to which nobody can connect any more; None where that is impossible."""
    copy = socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM)
    code = ctypes.create_string_buffer(_PROGRAM, len(_PROGRAM))
    try:
        filters = struct.pack("HP", len(_PROGRAM) // 8, ctypes.addressof(code))
        copy.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filters)
    except OSError:
        copy.close()
        return None
    return copy


def queued(one: socket.socket) -> int:
    """Returns how many connections of a listening socket wait to be accepted."""
    info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUED_AT + 4)
    (count,) = struct.unpack_from("I", info, _QUEUED_AT)
    return int(count)
