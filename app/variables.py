"""Where settings come from: which variable or file sets each, and which names are no setting's."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from app import settings_file
from app.config import FROM_FILES, Settings
from app.settings.values import PREFIX

# Variables with the prefix that are not settings: the README and docs/examples use them. `ADMIN_URL` and
# `ADMIN_KEY` make a command work on another machine (`app.cli.remote`).
_OTHERS: Final = frozenset({"KEY", "URL", "ADMIN_URL", "ADMIN_KEY", "LISTEN_SECRET", "CONFIG"})
_OF_TESTS: Final = "TEST_"  # begins the names that only the tests read
_DOTENV: Final = Path(".env")


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """Returns a sentence for each name in the environment or the files that is no setting's."""
    return [*_misspelt_variables(environ), *_misspelt_keys()]


def origin_of(name: str, environ: Mapping[str, str]) -> str:
    """Returns what sets a setting: a variable, a file, or `default`. The first that sets it wins."""
    variable = f"{PREFIX}{name.upper()}"
    given = {one.upper(): one for one, value in environ.items() if value}
    if variable in given:
        return given[variable]
    if any(one.upper() == variable and value for one, value in _of_dotenv().items()):
        return ".env"
    if name in FROM_FILES and environ.get(f"{variable}_FILE"):
        return f"{variable}_FILE"
    found = settings_file.values()
    if name in found or f"{name}_file" in found:
        return str(settings_file.path())
    return "default"


def _misspelt_variables(environ: Mapping[str, str]) -> Iterable[str]:
    names = {name.upper() for name in Settings.model_fields}
    files = {f"{name.upper()}_FILE" for name in FROM_FILES}
    for variable in dict.fromkeys((*environ, *_of_dotenv())):
        name = variable.upper().removeprefix(PREFIX)
        if name == variable.upper() or name in names | _OTHERS or name.startswith(_OF_TESTS):
            continue
        if name in files:
            if variable not in environ:
                yield f"{variable} must be set in the environment, not in .env; it is ignored."
            continue
        near = difflib.get_close_matches(name, sorted(names | files), n=1)
        yield f"{variable} is not a setting; it is ignored." + _meant(f"{PREFIX}{near[0]}" if near else "")


def _misspelt_keys() -> Iterable[str]:
    names = {*Settings.model_fields, *(f"{name}_file" for name in FROM_FILES)}
    for key in settings_file.values():
        if key not in names:
            plain = key.lower().removeprefix(PREFIX.lower())
            near = [plain] if plain in names else difflib.get_close_matches(plain, sorted(names), n=1)
            file = settings_file.path()
            yield f"{key} in {file} is not a setting; it is ignored." + _meant(near[0] if near else "")


def _meant(near: str) -> str:
    return f" Did you mean {near}?" if near else ""


def _of_dotenv() -> Mapping[str, str | None]:
    # A FIFO can be read only once.
    return dotenv_values(_DOTENV, interpolate=False) if _DOTENV.is_file() else {}
