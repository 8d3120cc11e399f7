"""The settings file: TOML, whose keys are the names of settings without the prefix, in small letters."""

import asyncio
import json
import os
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "REELGATE_CONFIG"
USUAL: Final = Path("reelgate.toml")
_STILL_S: Final = 0.2
_READS: Final = 50


def path() -> Path | None:
    """Returns the file that the variable names or, where it names none, this folder's, if it is there."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    return USUAL if USUAL.is_file() else None


def values() -> dict[str, Any]:
    """Returns what the file sets; nothing where there is none. A list of tables is returned as JSON.

    Raises:
        ValueError: it cannot be read; the message says why, and repeats nothing of it.

    """
    file = path()
    if file is None:
        return {}
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise ValueError(f"{file} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} is no TOML: {error}") from error
    return {name: json.dumps(value) if _is_tables(value) else value for name, value in found.items()}


async def settled(sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Waits until two reads of its state, a moment apart, are the same: half of one may be valid too.

    Raises:
        ValueError: it was being written for ten seconds.

    """
    before = _state()
    for _ in range(_READS):
        if before is None:
            return
        await sleep(_STILL_S)
        now = _state()
        if now == before:
            return
        before = now
    raise ValueError(f"{path()} is being written all the time; reload once it is whole")


def _state() -> tuple[int, int, int] | None:
    """Returns what changes when the file does; None where there is none."""
    file = path()
    try:
        found = None if file is None else file.stat()
    except OSError:  # reading it says why
        return None
    return None if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
