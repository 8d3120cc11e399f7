"""The shipped configurations of proxies, on ports and with a certificate of their own."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.operations.tools import DEPLOY, tool
from tests.patience import PATIENCE_S
from tests.processes import eventually, free_port

NAME = "gateway.example.com"


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs: where it listens, and how."""

    url: str
    log: Path


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for the example's name, and its key."""
    made, key = folder / "fullchain.pem", folder / "privkey.pem"
    command = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-days", "2", "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}")
    subprocess.run(
        ["openssl", *command, *subject, "-keyout", key, "-out", made],  # noqa: S607 - whichever is there
        check=True,
        capture_output=True,
    )
    return made, key


def nginx_files(folder: Path, ports: tuple[int, int], port: int, plain_port: int) -> Path:
    """The shipped files of nginx below a folder, with what differs here put in; returns the main file."""
    made, key = certificate(folder)
    text = (DEPLOY / "nginx" / "reelgate.conf").read_text("utf-8")
    (folder / "reelgate.proxy").write_text((DEPLOY / "nginx" / "reelgate.proxy").read_text("utf-8"))
    for there, here in {
        "127.0.0.1:8710": f"127.0.0.1:{ports[0]}",
        "127.0.0.1:8720": f"127.0.0.1:{ports[1]}",
        "listen 80;": f"listen 127.0.0.1:{plain_port};",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
        "/etc/reelgate/tls/fullchain.pem": str(made),
        "/etc/reelgate/tls/privkey.pem": str(key),
        "/etc/nginx/reelgate.proxy": str(folder / "reelgate.proxy"),
    }.items():
        assert there in text, there
        text = text.replace(there, here)
    text = re.sub(r"\n *listen \[::\].*", "", text)
    (folder / "reelgate.conf").write_text(text)
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off; user root; worker_processes 1; pid {folder}/nginx.pid;\n"
        f"error_log {folder}/error.log info;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; gzip on; gzip_types *;\n"
        + "".join(
            f"{one}_temp_path {folder}/{one};\n"
            for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + f"include {folder}/reelgate.conf; }}\n"
    )
    return main


@contextmanager
def nginx(folder: Path, ports: tuple[int, int]) -> Iterator[Proxy]:
    """nginx in front of two servers."""
    port = free_port()
    main = nginx_files(folder, ports, port, free_port())
    with _running(
        [tool("nginx"), "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(main)], folder
    ):
        _until_there(port)
        yield Proxy(f"https://127.0.0.1:{port}", folder / "error.log")


def caddy_path() -> str:
    """The program, from its wheel in the development lock."""
    beside = Path(sys.executable).with_name("caddy")
    if not beside.exists():
        pytest.skip("caddy IS NOT INSTALLED, so deploy/caddy is not checked by it: make install-dev")
    return str(beside)


def caddy_file(folder: Path, ports: tuple[int, int], port: int) -> Path:
    """The shipped file of Caddy, with what differs here put in."""
    made, key = certificate(folder)
    text = (DEPLOY / "caddy" / "Caddyfile").read_text("utf-8")
    for there, here in {
        "\ngateway.example.com {": f"\n{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {made} {key}",
        "127.0.0.1:8710": f"127.0.0.1:{ports[0]}",
        "127.0.0.1:8720": f"127.0.0.1:{ports[1]}",
    }.items():
        assert there in text, there
        text = text.replace(there, here)
    file = folder / "Caddyfile"
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tdefault_sni " + NAME + "\n}\n"
    file.write_text(options + text)
    return file


@contextmanager
def caddy(folder: Path, ports: tuple[int, int]) -> Iterator[Proxy]:
    """Caddy in front of two servers."""
    port = free_port()
    file = caddy_file(folder, ports, port)
    command = [caddy_path(), "run", "--config", str(file), "--adapter", "caddyfile"]
    with _running(command, folder):
        _until_there(port)
        yield Proxy(f"https://127.0.0.1:{port}", folder / "proxy.log")


@contextmanager
def _running(command: list[str], folder: Path) -> Iterator[None]:
    with (folder / "proxy.log").open("wb") as log:
        environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
            process.kill()


def _until_there(port: int) -> None:
    def there() -> bool:
        with suppress(httpx2.HTTPError):
            httpx2.get(
                f"https://127.0.0.1:{port}/livez", headers={"Host": NAME}, verify=False, trust_env=False
            )
            return True
        return False

    eventually(there)
