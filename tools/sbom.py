"""`make sbom`: writes a list of every package in the image, in the form CycloneDX, from the lock."""

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_PACKAGE = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[\w,-]+\])?==([^\s;\\]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(lock: str) -> list[dict[str, Any]]:
    """Returns the packages of a lock: name, version, and the hashes of all files that may be installed."""
    starts = [*_PACKAGE.finditer(lock)]
    ends = [*(one.start() for one in starts[1:]), len(lock)]
    return [
        {
            "type": "library",
            "bom-ref": (purl := f"pkg:pypi/{found[1]}@{found[2]}"),
            "name": found[1],
            "version": found[2],
            "purl": purl,
            "properties": [
                {"name": "reelgate:file:sha256", "value": one}
                for one in _HASH.findall(lock[found.start() : end])
            ],
        }
        for found, end in zip(starts, ends, strict=True)
    ]


def bill() -> dict[str, Any]:
    """Returns the whole document: the same for the same lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    image = re.search(
        r"^FROM (python:\S+)@(sha256:\w+) AS base$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    if image is None:
        raise ValueError("the Dockerfile names no base image")
    base = {"type": "container", "bom-ref": "base", "name": image[1], "version": image[2]}
    packages = components((ROOT / "requirements.lock").read_text("utf-8"))
    itself = {
        "type": "application",
        "bom-ref": "reelgate",
        "name": project["name"],
        "version": project["version"],
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": itself},
        "components": [base, *packages],
        "dependencies": [{"ref": "reelgate", "dependsOn": ["base", *(one["bom-ref"] for one in packages)]}],
    }


def main() -> None:
    """Writes it to the file that is named, or to standard output."""
    text = json.dumps(bill(), indent=1) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
