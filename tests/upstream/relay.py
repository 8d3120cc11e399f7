"""A small HTTP proxy that tunnels (CONNECT), and a RunComfy behind TLS, both real and on loopback."""

import asyncio
import json
import shutil
import ssl
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from tests.console.network import HOST, served


@dataclass
class Proxy:
    """`heads` has every request line and header block that it was asked with."""

    port: int = 0
    refusal: bytes = b""
    silent: bool = False
    heads: list[str] = field(default_factory=list)
    tunnels: int = 0
    _near: list[asyncio.StreamWriter] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def cut(self) -> None:
        """Ends every tunnel."""
        for writer in self._near:
            writer.close()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            if self.silent:
                await reader.read()
            elif self.refusal:
                writer.write(self.refusal)
                await writer.drain()
            else:
                await self._tunnel(head.split()[1], reader, writer)
        writer.close()

    async def _tunnel(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        self.tunnels += 1
        self._near.append(writer)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def proxying() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    server = await asyncio.start_server(proxy.handle, HOST, 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy


@dataclass
class RunComfy:
    """Accepts every submit, and knows no request. Once `quiet`, it takes a body and never answers."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    authorizations: set[str] = field(default_factory=set)
    received: asyncio.Event = field(default_factory=asyncio.Event)
    quiet: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.authorizations.add(dict(scope["headers"])[b"authorization"].decode())
        self.bodies.append((await receive())["body"])
        self.received.set()
        if self.quiet:
            await receive()  # until the client goes
            return
        is_submit = scope["method"] == "POST"
        document: dict[str, Any] = {"error_code": 404001, "error_message": "request not found"}
        if is_submit:
            document = {"request_id": str(uuid.uuid4())}
        await send({"type": "http.response.start", "status": 200 if is_submit else 404, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(document).encode()})


@asynccontextmanager
async def runcomfy(folder: Path) -> AsyncIterator[tuple[RunComfy, ssl.SSLContext]]:
    """Serves a RunComfy over TLS: it, and a context that trusts its certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here, which makes the certificate of the stand-in")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost"
    names = ("-addext", f"subjectAltName=IP:{HOST}", "-keyout", key, "-out", certificate)
    command = [openssl, *made.split(), *names]
    await asyncio.to_thread(partial(subprocess.run, command, check=True, capture_output=True))
    vendor = RunComfy()
    async with served(vendor, ssl_keyfile=str(key), ssl_certfile=str(certificate)) as port:
        vendor.url = f"https://{HOST}:{port}"
        yield vendor, ssl.create_default_context(cafile=certificate)
