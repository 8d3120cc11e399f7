"""The settings file: TOML, whose keys are the names of settings without the prefix, in small letters."""

import json
import os
import tomllib
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "REELGATE_CONFIG"
USUAL: Final = Path("reelgate.toml")


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


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
