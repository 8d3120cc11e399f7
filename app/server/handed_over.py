"""Listening sockets that another process opened and handed over, as systemd does with a socket unit.

While a server is restarted such a socket stays open: who calls meanwhile waits in the kernel's queue, and
nobody is refused. The protocol is that of sd_listen_fds(3).
"""

import os
import socket
from collections.abc import Iterable, Mapping
from typing import Final

from app.config import SettingsError
from app.settings.values import PREFIX

_FIRST: Final = 3  # descriptors: behind standard input, output and error
_NAMES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def handed_over(ports: Mapping[int, str], *, first: int = _FIRST) -> dict[int, list[socket.socket]]:
    """Returns the sockets that this process was given, by their ports; none, where it was given none.

    `ports` are those that it is to listen on, with the names of their settings. The process forgets what it
    was told, so that no child takes the sockets for its own.

    Raises:
        SettingsError: one listens on no such port.

    """
    told = [os.environ.pop(name, "") for name in _NAMES]
    if told[0] != str(os.getpid()) or not told[1].isdecimal():
        return {}
    return by_port(range(first, first + int(told[1])), ports)


def by_port(descriptors: Iterable[int], ports: Mapping[int, str]) -> dict[int, list[socket.socket]]:
    """Returns listening sockets by their ports, from their descriptors; `ports` as above.

    A port may have several: a name such as `localhost` may stand for an address of each family.

    Raises:
        SettingsError: one listens on no such port.

    """
    found: dict[int, list[socket.socket]] = {}
    for descriptor in descriptors:
        one = socket.socket(fileno=descriptor)
        one.set_inheritable(False)
        port = one.getsockname()[1] if one.family in {socket.AF_INET, socket.AF_INET6} else 0
        if port not in ports:
            where = one.getsockname() or "nothing"
            one.close()
            names = " or ".join(f"{PREFIX}{name}={number}" for number, name in ports.items())
            raise SettingsError(
                f"the socket that was handed over (descriptor {descriptor}) listens on {where},"
                f" and the settings say {names}: make both the same."
            )
        found.setdefault(port, []).append(one)
    return found
