"""What the documents name exists: modules and functions, files, tests, settings, headings."""

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.settings.values import PREFIX

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
HISTORY = {"CHANGELOG.md"}  # it names what was renamed, as it was
MEASURED = {"benchmarks.md"}  # its tables name functions as they were when they were measured
_DOTTED = re.compile(r"`(?:app\.)?([a-z_]+(?:\.[a-z_]+)+)`")
_PATH = re.compile(r"(?<![\w/.-])((?:app|bench|docs|migrations|tests|tools)/[\w./-]*\w)(?:::(\w+))?")
_WITHIN = re.compile(r"`(\w+)`(?: \([^)]*\))?,? (?:of|in) `((?:app|tests|tools)/[\w/]+\.py)`")
_SHOWN = re.compile(r"the campaign|`make install`")  # a section of the page, or no test at all
_SETTING = re.compile(rf"`(?:export )?{PREFIX}([A-Z][A-Z_]*[A-Z])\b")
_LINK = re.compile(r"\]\(([^)#:\s]*)#([^)\s]+)\)")
ROOMS = {path.stem for path in (ROOT / "app").iterdir() if path.stem.isidentifier()}


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def exists(name: str) -> bool:
    """Whether a dotted name below `app` is a module, or something that a module has."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(("app", *parts[:length])))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part, None)
        return found is not None
    return False


def names_in(text: str) -> set[str]:
    """The dotted names in a page whose first part is a module or package of `app`."""
    return {name for name in _DOTTED.findall(text) if name.split(".")[0] in ROOMS}


@pytest.mark.parametrize("page", [one for one in PAGES if one.name not in HISTORY | MEASURED], ids=page_id)
def test_every_module_and_function_that_a_page_names_exists(page: Path) -> None:
    assert [name for name in sorted(names_in(page.read_text("utf-8"))) if not exists(name)] == []


def test_the_page_of_the_architecture_names_many_and_one_that_is_not_there_is_noticed() -> None:
    assert len(names_in((ROOT / "docs/architecture.md").read_text("utf-8"))) > 40
    assert names_in("`generations.advance.advance` and `app.kit.nothing`") == {
        "generations.advance.advance",
        "kit.nothing",
    }
    assert not exists("kit.nothing")
    assert not exists("generations.advance.nothing")


@pytest.mark.parametrize("page", [one for one in PAGES if one.name not in HISTORY], ids=page_id)
def test_every_file_and_test_that_a_page_names_exists(page: Path) -> None:
    missing = []
    for path, test in _PATH.findall(page.read_text("utf-8")):
        if "NOUN" in path:
            continue
        bases = (ROOT, page.parent)  # a link is relative to its page
        found = next((base / path for base in bases if (base / path).exists()), None)
        if found is None or (test and test not in definitions_in(found)):
            missing.append(f"{path}::{test}" if test else path)
    assert missing == []


@pytest.mark.parametrize("page", [one for one in PAGES if one.name not in HISTORY], ids=page_id)
def test_every_name_that_a_page_says_a_file_has_is_there(page: Path) -> None:
    named = [
        one for one in _WITHIN.findall(page.read_text("utf-8").replace("\n   ", " ")) if "NOUN" not in one[1]
    ]
    assert [(name, path) for name, path in named if name not in definitions_in(ROOT / path)] == []
    assert page.name != "CONTRIBUTING.md" or len(named) > 10


def definitions_in(path: Path) -> set[str]:
    """The names of the functions and classes of a file, and what it assigns."""
    names: set[str] = set()
    for one in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(one.name)
        elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            names.add(one.id)
    return names


@pytest.mark.parametrize("name", ["reliability", "security"])
def test_every_promise_names_what_shows_it(name: str) -> None:
    table = (ROOT / f"docs/{name}.md").read_text("utf-8").split("\n\n|", 1)[1].split("\n\n", 1)[0]
    head, _, *promises = table.splitlines()
    assert head.endswith(" Shown by |")
    assert len(promises) > 15
    shown = [promise.split(" | ")[-1] for promise in promises]
    assert [one for one in shown if not _PATH.search(one) and not _SHOWN.search(one)] == []


@pytest.mark.parametrize("page", [one for one in PAGES if one.name not in HISTORY], ids=page_id)
def test_every_setting_that_a_page_names_is_one(page: Path) -> None:
    known = {name.upper() for name in Settings.model_fields} | {"KEY", "URL", "CONFIG"}
    known |= {f"{name}_FILE" for name in known}
    named = {name for name in _SETTING.findall(page.read_text("utf-8")) if not name.startswith("TEST_")}
    assert named - known == set()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_heading_that_a_page_links_to_exists(page: Path) -> None:
    missing = [
        f"{target}#{anchor}"
        for target, anchor in _LINK.findall(page.read_text("utf-8"))
        if anchor not in anchors_of((page.parent / target) if target else page)
    ]
    assert missing == []


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.strip().lower()).replace(" ", "-") for one in headings}
