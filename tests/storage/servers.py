"""Real servers of the S3 protocol, on loopback alone, for one session of tests or a measurement."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2

from app.kit.clock import SystemClock
from app.storage.s3 import Bucket, S3Store
from app.storage.signature import Keys, signed_headers
from app.storage.threads import Threads
from tests.patience import PATIENCE_S

KEYS = Keys("the-key-of-the-tests", "the-secret-of-the-tests-0123456789")
BUCKET = "reelgate-tests"
_BIN = Path(sys.executable).parent


def bucket_at(endpoint: str) -> Bucket:
    return Bucket(endpoint=endpoint, public_endpoint=endpoint, name=BUCKET, prefix="a/prefix/")


def store_at(endpoint: str, threads: Threads) -> S3Store:
    return S3Store(bucket_at(endpoint), KEYS, SystemClock(), threads, pauses_s=())


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """The address of a SeaweedFS with an empty bucket."""
    ports = dict(zip(("master", "volume", "filer", "s3"), _free_ports(4), strict=True))
    grpc = dict(zip(ports, _free_ports(4), strict=True))
    config = folder / "s3.json"
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    credential = {"accessKey": KEYS.key_id, "secretKey": KEYS.secret}
    identity = {"name": "tests", "credentials": [credential], "actions": actions}
    config.write_text(json.dumps({"identities": [identity]}))
    named = [f"-{name}.port={port}" for name, port in ports.items()]
    named += [f"-{name}.port.grpc={port}" for name, port in grpc.items()]
    command = [
        str(_BIN / "weed"), "-logdir", str(folder), "server", f"-dir={folder}", "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *named, "-s3", f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false",
        "-s3.ip.bind=127.0.0.1", "-volume.max=64", "-master.volumeSizeLimitMB=512",
        "-volume.minFreeSpace=1", "-master.telemetry=false",
    ]  # fmt: skip
    with _running(command, folder) as process:
        yield _with_bucket(f"http://127.0.0.1:{ports['s3']}", process)


@contextmanager
def rclone(folder: Path) -> Iterator[str]:
    """The address of an rclone with an empty bucket: it answers ranges with the status 200."""
    (port,) = _free_ports(1)
    served = folder / "served"
    served.mkdir()
    command = [
        str(_BIN / "rclone"), "--config", "/dev/null", "serve", "s3", "--addr", f"127.0.0.1:{port}",
        "--auth-key", f"{KEYS.key_id},{KEYS.secret}", "--vfs-cache-mode", "off", str(served),
    ]  # fmt: skip
    with _running(command, folder) as process:
        yield _with_bucket(f"http://127.0.0.1:{port}", process)


SERVERS = {"seaweedfs": seaweedfs, "rclone": rclone}


@contextmanager
def _running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _with_bucket(endpoint: str, process: subprocess.Popen[bytes]) -> str:
    """Makes the bucket, and waits until a HEAD of it succeeds: the port is open long before."""
    deadline = time.monotonic() + PATIENCE_S
    host, path = endpoint.partition("://")[2], f"/{BUCKET}"
    with httpx2.Client(trust_env=False) as client:
        while time.monotonic() < deadline:
            assert process.poll() is None, "the server ended"
            with suppress(httpx2.HTTPError):
                for method in ("PUT", "HEAD"):
                    now_ms = int(time.time() * 1000)
                    headers = signed_headers(KEYS, method=method, host=host, path=path, now_ms=now_ms)
                    status = client.request(method, f"{endpoint}{path}", headers=headers).status_code
                if status == httpx2.codes.OK:
                    return endpoint
            time.sleep(0.2)
    raise AssertionError("the server did not become ready")


def _free_ports(count: int) -> list[int]:
    with_ports = [socket.socket() for _ in range(count)]
    for one in with_ports:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in with_ports]
    for one in with_ports:
        one.close()
    return ports
