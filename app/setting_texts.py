"""What texts of settings must be: addresses, proxies, secrets. Pure; no message repeats a secret."""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

MIN_PEPPER_CHARACTERS: Final = 32  # 192 bits where it is base64 (`openssl rand -base64 32` gives 44)
_QUOTES: Final = frozenset("\"'`")
_LAYOUT: Final = frozenset("\n\r\t")  # inside a value: of JSON, and of a list


def check_proxy(url: str) -> None:
    """Checks the URL of a proxy.

    Raises:
        ValueError: it is not valid; the message repeats none of it, for it may hold a password.

    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or re.search(r"\s", url):
        raise ValueError(
            "must be http://HOST:PORT or https://HOST:PORT, with USER:PASSWORD@ where it asks for one"
        )
    if not has_good_port(url) or not parts.hostname:
        raise ValueError(
            "needs a host, and a port that is valid; a password has its / ? # @ as %2F %3F %23 %40"
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must end after the port; a password is written with its / ? # @ as %2F %3F %23 %40")


def weak(secret: str) -> bool:
    """Returns whether a secret is too short, or has too few different characters, to be random."""
    return len(secret) < MIN_PEPPER_CHARACTERS or len(set(secret)) < MIN_PEPPER_CHARACTERS // 3


def fault_of_text(value: str) -> str | None:
    """Returns what a value has that cannot be seen, or that whoever wrote it did not mean to be a part of it.

    `docker --env-file`, for one, keeps quotes and blanks that a shell and `.env` take away.
    """
    if len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES:
        return f"has quotes ({value[0]}) around it, which are a part of the value here: write it without them"
    if value.endswith("\r"):
        return "ends with a carriage return: save the file that sets it with Unix line ends"
    if value != value.strip():
        return "begins or ends with a blank or a line break: remove it"
    for position, character in enumerate(value, 1):
        if not character.isprintable() and character not in _LAYOUT:
            code = f"U+{ord(character):04X}"
            return f"has a character that cannot be seen, {code}, at position {position}: type the value anew"
    return None


def reachable(host: str) -> str:
    """Returns a host as a URL has it; for a server that listens on all addresses, this machine's."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared with, not listened on
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def netloc(url: str) -> str:
    """Returns the `host:port` of a URL in lower case, as checks of media URLs compare it.

    Raises:
        ValueError: it has none.

    """
    parts = urlsplit(url)
    if not parts.hostname or not has_good_port(url) or parts.username:
        raise ValueError(f"{url.removeprefix('http://')!r} is not host:port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def has_good_port(url: str) -> bool:
    """Returns whether the port of a URL, if it has one, can be one."""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def is_this_machine(host: str) -> bool:
    """Returns whether a host is this machine: a loopback address, or localhost."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
