"""Loads the catalogue from folders of model files; the only module of this package that reads the disk."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from app.catalog.findings import Finding, pointer
from app.catalog.model import Model, ModelError, build_model
from app.config import Settings

SHIPPED: Final = Path(__file__).parent / "models"
MAX_FILE_BYTES: Final = 1 << 20
_MAX_DEPTH: Final = 64


@dataclass(frozen=True, slots=True, order=True)
class CatalogProblem:
    """Why a model file is refused; `pointer` is a JSON pointer (RFC 6901) into the file."""

    file: str
    pointer: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}{f' at {self.pointer}' if self.pointer else ''}: {self.reason}"


class CatalogError(Exception):
    """The catalogue cannot be loaded; `problems` lists everything that is wrong with any of its files."""

    def __init__(self, problems: list[CatalogProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Catalog:
    """All models, sorted by their id."""

    models: Mapping[str, Model]


def open_catalog(settings: Settings) -> Catalog:
    """The shipped models, under the operator's own. Raises `CatalogError`."""
    own = [] if settings.catalog_dir is None else [settings.catalog_dir]
    return load_catalog(SHIPPED, *own)


def load_catalog(*folders: Path) -> Catalog:
    """Loads the models of all folders; a later folder's model replaces an earlier one with the same id.

    Hidden files and folders, and files that are not `.json`, are ignored.

    Raises:
        CatalogError: for all files together, if any of them, or a folder, cannot be loaded.

    """
    problems: list[CatalogProblem] = []
    models: dict[str, Model] = {}
    for folder in folders:
        if folder.is_dir():
            models |= _load_folder(folder, problems)
        else:
            problems.append(CatalogProblem(str(folder), "", "is not a folder that can be read"))
    if problems:
        raise CatalogError(sorted(problems))
    return Catalog(MappingProxyType(dict(sorted(models.items()))))


def _load_folder(folder: Path, problems: list[CatalogProblem]) -> dict[str, Model]:
    models: dict[str, Model] = {}
    files: dict[str, Path] = {}
    for path in _json_files(folder, problems):
        try:
            model = build_model(_read(path), path.relative_to(folder).with_suffix("").as_posix())
        except ModelError as error:
            problems += (CatalogProblem(str(path), found.pointer, found.reason) for found in error.problems)
            continue
        if model.model_id in files:
            reason = f"names the model {model.model_id}, as {files[model.model_id]} does"
            problems.append(CatalogProblem(str(path), "/model_id", reason))
            continue
        models[model.model_id], files[model.model_id] = model, path
    return models


def _json_files(folder: Path, problems: list[CatalogProblem]) -> Iterator[Path]:
    """Yields the model files in a fixed order.

    Links to folders are followed, except to a folder that the link itself is in.
    """

    def unreadable(error: OSError) -> None:
        problems.append(CatalogProblem(str(error.filename), "", f"cannot be read: {error.strerror}"))

    for place, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        here = Path(place)
        above = {parent.resolve() for parent in (here, *here.parents) if parent.is_relative_to(folder)}
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and (here / name).resolve() not in above
        )
        for name in sorted(files):
            if name.endswith(".json") and not name.startswith("."):
                yield here / name


def _read(path: Path) -> Any:
    """Returns the JSON document of a file.

    Raises:
        ModelError: the file cannot be read, is too large, or is no acceptable JSON.

    """
    try:
        if not path.is_file():  # a link to nothing, or a pipe that would block
            raise _refused("is not a file that can be read")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _refused(f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise _refused(f"is larger than {MAX_FILE_BYTES:,} bytes")
    return parse_document(content)


def parse_document(content: bytes) -> Any:
    """Parses a model file strictly: UTF-8 (a byte order mark is tolerated), unique keys, finite numbers.

    Raises:
        ModelError: the content is no such document.

    """
    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise _refused(f"is not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise _refused("is nested too deeply") from error
    except ValueError as error:  # also an integer of more digits than Python converts
        raise _refused(f"is not JSON: {error}"[:200]) from error
    problems = _walk_problems(document)
    if problems:
        raise ModelError(tuple(sorted(problems)))
    return document


def _refused(reason: str) -> ModelError:
    return ModelError((Finding("", reason),))


class _Duplicated(dict[str, Any]):
    """An object in which a key occurs twice: marked by the parser, and refused by `_walk_problems`."""

    names: frozenset[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    marked = _Duplicated(plain)
    keys = [key for key, _ in pairs]
    marked.names = frozenset(key for key in plain if keys.count(key) > 1)
    return marked


def _walk_problems(document: Any) -> list[Finding]:
    """Returns what the parser accepts and we refuse.

    That is duplicate keys, NaN and infinities, lone surrogates, and too deep nesting.
    """
    problems: list[Finding] = []
    todo: list[tuple[Any, tuple[str | int, ...]]] = [(document, ())]
    while todo:
        value, at = todo.pop()
        if isinstance(value, dict | list) and len(at) > _MAX_DEPTH:
            problems.append(Finding(pointer(at), f"is nested deeper than {_MAX_DEPTH} levels"))
        elif isinstance(value, dict):
            if isinstance(value, _Duplicated):
                problems += (Finding(pointer((*at, name)), "is given twice") for name in value.names)
            todo += [(item, (*at, key)) for key, item in value.items()]
            todo += [(key, at) for key in value]
        elif isinstance(value, list):
            todo += [(item, (*at, index)) for index, item in enumerate(value)]
        elif isinstance(value, float) and not math.isfinite(value):
            problems.append(Finding(pointer(at), "is not a finite number"))
        elif (
            isinstance(value, str)
            and not value.isascii()
            and any("\ud800" <= char <= "\udfff" for char in value)
        ):
            problems.append(Finding(pointer(at), "is not valid text: it has a lone surrogate"))
    return problems
