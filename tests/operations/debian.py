"""A bare Debian that boots its own systemd in namespaces of this machine, with no network but a loopback."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import eventually

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TRUST = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""Where a machine trusts more authorities than Debian does, its package registry may need them."""
_BOOT = """
set -e
mount --make-rprivate /
mount --bind {root} {root}
mount -t proc proc {root}/proc
mount -t sysfs sysfs {root}/sys -o ro
mount -t tmpfs tmpfs {root}/run
mount -t tmpfs tmpfs {root}/tmp
mount --rbind /dev {root}/dev
mount -t tmpfs tmpfs {root}/sys/fs/cgroup -o mode=755
mkdir {root}/sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup {root}/sys/fs/cgroup/systemd || {{
  umount {root}/sys/fs/cgroup; mount -t cgroup2 cgroup2 {root}/sys/fs/cgroup; }}
mkdir -p {root}/oldroot
cd {root}
pivot_root . oldroot
umount -l /oldroot
exec env -i container=other PATH={path} /lib/systemd/systemd --system --show-status=no
"""
_PATIENCE_S = 1200.0


def said(command: list[str], script: str, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [*command, "-c", f"cd /root\n{script}"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@dataclass(frozen=True)
class Debian:
    """Its root folder."""

    root: Path

    def before_it_boots(self, script: str) -> str:
        """What a script says that runs in it with the network of this machine, as root."""
        given = {}
        for name in _TRUST:
            if Path(os.environ.get(name, "")).is_file():
                given[name] = f"/etc/{name}.crt"  # Debian writes to its usual places itself
                shutil.copyfile(os.environ[name], self.root / given[name].removeprefix("/"))
        environment = {"PATH": _PATH, "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", **given}
        return said(["chroot", str(self.root), "/bin/bash", "-e"], script, environment)

    @contextmanager
    def booted(self) -> Iterator["Booted"]:
        boot = _BOOT.format(root=shlex.quote(str(self.root)), path=_PATH)
        process = subprocess.Popen(
            ["unshare", "-Cmpuin", "--fork", "--kill-child", "bash", "-c", boot],  # noqa: S607 - of the system
            stdout=subprocess.DEVNULL,
        )
        try:
            pid = eventually(lambda: Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
            inside = Booted(pid.strip())
            eventually(inside.is_up)
            yield inside
        finally:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Booted:
    """Its first process, as this machine sees it."""

    pid: str

    def run(self, script: str) -> str:
        """What a script says that root types."""
        enter = ["nsenter", "-t", self.pid, "-m", "-p", "-C", "-u", "-i", "-n"]
        shell = ["env", "-i", "HOME=/root", f"PATH={_PATH}", "bash", "-e", "-O", "expand_aliases"]
        return said([*enter, *shell], script)

    def is_up(self) -> bool:
        try:
            return self.run("systemctl is-system-running || true").strip() in {"running", "degraded"}
        except AssertionError:  # it is starting
            return False


@contextmanager
def bare_debian(folder: Path) -> Iterator[Debian]:
    """A Debian with nothing but systemd, as a machine has it that was just installed."""
    for name in ("debootstrap", "unshare", "nsenter"):
        if shutil.which(name) is None or os.geteuid() != 0:
            pytest.skip(f"NO NEWCOMER WAS TRIED: a bare Debian needs root and {name}.")
    root = folder / "debian"
    command = ["debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus", "bookworm"]
    done = subprocess.run([*command, str(root)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"NO NEWCOMER WAS TRIED: no Debian can be fetched here: {done.stdout[-300:]}")
    nothing_starts = root / "usr" / "sbin" / "policy-rc.d"  # before it boots
    nothing_starts.write_text("#!/bin/sh\nexit 101\n")
    nothing_starts.chmod(0o755)
    try:
        yield Debian(root)
    finally:
        shutil.rmtree(root)
