"""One word for one thing: retired words stay out of code, prose, documents and contract."""

import io
import json
import keyword
import re
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
DATA: Final = ROOT / "tests/data/retired_words.toml"


@dataclass(frozen=True, slots=True)
class Retired:
    pattern: re.Pattern[str]
    use: str
    places: frozenset[str]


RETIRED: Final = [
    Retired(
        re.compile(rf"(?<!\w)(?:{one['pattern']})(?!\w)", re.IGNORECASE), one["use"], frozenset(one["in"])
    )
    for one in tomllib.loads(DATA.read_text(encoding="utf-8"))["retired"]
]
MODULES: Final = sorted(ROOT.glob("app/**/*.py"))
PAGES: Final = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]


def pieces(path: Path) -> tuple[list[str], list[str]]:
    """The names and the prose (docstrings, other texts, comments) of a module."""
    names, prose = [], []
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            names.append(token.string)
        elif token.type in {tokenize.STRING, tokenize.COMMENT}:
            prose.append(re.sub(r"\s+", " ", token.string))
    return names, prose


def texts(document: Any) -> Iterator[str]:
    """Every title, summary and description of the contract."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name in {"title", "summary", "description"} and isinstance(value, str):
                yield value
            else:
                yield from texts(value)
    elif isinstance(document, list):
        for one in document:
            yield from texts(one)


def found(place: str, pieces_of_text: list[str]) -> list[str]:
    return [
        f"{match[0]!r} (say {one.use}) in {piece[:80]!r}"
        for one in RETIRED
        if place in one.places
        for piece in pieces_of_text
        for match in one.pattern.finditer(piece)
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_uses_a_retired_word(path: Path) -> None:
    names, prose = pieces(path)
    assert found("names", sorted({*names, *path.relative_to(ROOT).with_suffix("").parts})) == []
    assert found("prose", prose) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_uses_a_retired_word(path: Path) -> None:
    assert found("prose", [re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))]) == []


def test_the_contract_uses_no_retired_word() -> None:
    document = json.loads((ROOT / "openapi.json").read_text(encoding="utf-8"))
    for path in [one for one in document["paths"] if one.startswith("/v1/models/") and "{" not in one]:
        del document["paths"][path]  # a vendor's own words
    assert found("prose", list(texts(document))) == []


def test_a_retired_word_is_found() -> None:
    assert found("prose", ["of this kind of key"])
    assert found("names", ["_most", "MOST_TRIES", "sees"])
    assert not found("names", ["foreseen", "almost_done", "shortest_side_pixels"])
