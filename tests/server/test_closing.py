"""A port that is closed: who has connected is accepted, who comes later is held off until it is closed."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from app.server.closing import accept_the_last, queued

pytestmark = pytest.mark.anyio


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def coming_to(listening: socket.socket) -> socket.socket:
    """A connection that begins; whether it comes about is another question."""
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(listening.getsockname())
    return one


def is_connected(one: socket.socket) -> bool:
    try:
        one.getpeername()
    except OSError:
        return False
    return True


async def test_who_waits_is_accepted_before_the_port_closes_and_nobody_comes_meanwhile(
    listening: socket.socket,
) -> None:
    with coming_to(listening) as early:
        assert (is_connected(early), queued(listening)) == (True, 1)
        closing = asyncio.create_task(accept_the_last([listening.fileno()]))
        await asyncio.sleep(0)
        with coming_to(listening) as late:
            accepted, _ = listening.accept()
            with accepted:
                await closing
                early.sendall(b"a call")
                assert accepted.recv(10) == b"a call"
            assert not is_connected(late)
            assert queued(listening) == 0


async def test_it_waits_until_all_were_accepted(listening: socket.socket) -> None:
    with coming_to(listening), coming_to(listening):
        closing = asyncio.create_task(accept_the_last([listening.fileno()]))
        for left in (1, 0):
            await asyncio.sleep(0)
            assert not closing.done()
            listening.accept()[0].close()
            assert queued(listening) == left
        await closing
