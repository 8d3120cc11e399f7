"""Poolers before a PostgreSQL server: a real PgBouncer, where there is one, and a small stand-in."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url

PGBOUNCER: Final = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
_PATIENCE_S: Final = 20.0
_NOBODY: Final = 65_534
_STARTUP: Final = 196_608  # version 3.0 of the protocol
_INI: Final = """\
[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 20
server_idle_timeout = 1
{more}
"""


def _server_of(url: str) -> tuple[str, int]:
    """The host, or the folder of the socket, and the port of a server."""
    read = make_url(url)
    host = read.host or read.query.get("host", "/tmp")  # noqa: S108 - where PostgreSQL looks by default
    return str(host), read.port or 5432


def _through(url: str, port: int) -> str:
    there = make_url(url).set(host="127.0.0.1", port=port).difference_update_query(["host"])
    return there.render_as_string(hide_password=False)


@contextmanager
def pgbouncer(url: str, mode: str, *more: str) -> Iterator[str]:
    """A PgBouncer before the server of a URL; the URL of the same database through it."""
    host, server_port = _server_of(url)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    owner = (Path(host).stat().st_uid if host.startswith("/") else _NOBODY) or _NOBODY
    user = make_url(url).username or "postgres"
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "pgbouncer.ini"
        server = f"host={host} port={server_port} user={user}"
        if password := make_url(url).password:
            server += f" password={password}"
        file.write_text(_INI.format(server=server, port=port, mode=mode, more="\n".join(more)))
        if os.geteuid() == 0:  # it refuses to run as root
            Path(name).chmod(0o755)
            file.chmod(0o644)
        process = subprocess.Popen(
            [str(PGBOUNCER), "--quiet", str(file)],
            user=owner if os.geteuid() == 0 else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _until_it_listens(process, port)
            yield _through(url, port)
        finally:
            process.kill()
            process.wait(_PATIENCE_S)


def _until_it_listens(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        assert process.poll() is None, "PgBouncer did not start"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        else:
            return


@asynccontextmanager
async def stand_in(url: str, *, refuses: bytes = b"", drops: bytes = b"") -> AsyncIterator[str]:
    """A pooler of one server connection for each client, as managed services have before their servers.

    It gives process ids of its own making, refuses a startup parameter or drops one without a word.
    """
    host, server_port = _server_of(url)

    writers: list[asyncio.StreamWriter] = []
    tasks: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        writers.append(writer)
        startup = await _startup_of(reader, writer)
        if startup is None:
            return
        pairs = startup.rstrip(b"\0").split(b"\0")
        given = dict(zip(pairs[::2], pairs[1::2], strict=False))
        if refuses in given:
            words = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: " + refuses + b"\0\0"
            writer.write(b"E" + (len(words) + 4).to_bytes(4, "big") + words)
            await writer.drain()
            writer.close()
            return
        given.pop(drops, None)
        rest = b"\0".join(part for pair in given.items() for part in pair) + b"\0\0"
        if host.startswith("/"):
            there = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{server_port}")
        else:
            there = await asyncio.open_connection(host, server_port)
        writers.append(there[1])
        there[1].write((len(rest) + 8).to_bytes(4, "big") + _STARTUP.to_bytes(4, "big") + rest)
        await asyncio.gather(_pass_on(reader, there[1]), _answer(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield _through(url, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def _startup_of(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
    while True:
        try:
            length = int.from_bytes(await reader.readexactly(4), "big")
            message = await reader.readexactly(length - 4)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        if int.from_bytes(message[:4], "big") >> 16 == _STARTUP >> 16:
            return message[4:]
        writer.write(b"N")  # neither TLS nor GSSAPI


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            kind, length = await reader.readexactly(1), await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(length, "big") - 4)
            if kind == b"K":  # the process id, and the secret by which a query is cancelled
                body = (7).to_bytes(4, "big") + body[4:]
            writer.write(kind + length + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
