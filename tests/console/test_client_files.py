"""The files of the client: small, of this version, and with every name declared."""

import gzip
import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "app/console/static"
MODULE, TYPES = (STATIC / "client.js").read_text(), (STATIC / "client.d.ts").read_text()
EXPORTS = re.compile(r"^export (?:const|class|function) (\w+)", re.MULTILINE)
METHOD = re.compile(r"^  (?:async )?([a-z]\w*)[(<]", re.MULTILINE)


def _class(name: str, text: str) -> str:
    """What stands in a class."""
    return re.split(rf"export class {name}\b", text)[1].partition("\n}\n")[0]


def _methods(text: str) -> set[str]:
    """The public methods of the class Reelgate."""
    return set(METHOD.findall(_class("Reelgate", text)))


def test_the_module_is_small() -> None:
    assert len(gzip.compress(MODULE.encode(), 9)) < 8192


def test_the_module_has_the_projects_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'\nexport const version = "{version}";\n' in MODULE
    package = json.loads((ROOT / "clients/typescript/package.json").read_text())
    assert package["version"] == version


def test_every_export_is_declared_and_nothing_else() -> None:
    assert EXPORTS.findall(MODULE) == ["version", "ReelgateError", "Reelgate"]
    assert set(EXPORTS.findall(TYPES)) == set(EXPORTS.findall(MODULE))
    assert _methods(TYPES) == _methods(MODULE) > {"run", "follow", "submit"}


def test_every_member_of_an_error_is_declared() -> None:
    made = set(re.findall(r"^  (\w+);$", _class("ReelgateError", MODULE), re.MULTILINE))
    declared = re.findall(r"^  readonly (\w+)\??:", _class("ReelgateError", TYPES), re.MULTILINE)
    assert set(declared) == made > {"code", "retryAfter", "result"}


def test_the_module_needs_nothing_else() -> None:
    assert not re.search(r"^\s*import\b|\bimport\(|\beval\b|innerHTML", MODULE, re.MULTILINE)
