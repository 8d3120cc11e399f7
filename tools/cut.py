"""`make cut`: makes the release of the version in `pyproject.toml`: its heading, commit, checks and tag.

All of it happens in a clone first, which is thrown away. Only when nothing is wrong do the commit and the tag
come into this repository, so a fault leaves it as it was. `make cut DRY=1` ends there. Nothing is published.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from tools import release

_UNRELEASED: Final = re.compile(r"^## Unreleased\n(?P<lines>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


class CutError(Exception):
    """No release can be cut; the message says why."""


def main() -> int:
    """Cuts the release, or says why not; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make cut", description=__doc__)
    parser.add_argument("--dry", action="store_true", help="leave this repository as it is")
    dry = parser.parse_args().dry
    try:
        tag = cut(release.ROOT, datetime.now(UTC).date(), checked_by=_checked, dry=dry)
    except CutError as error:
        print(f"cut: {error}", file=sys.stderr)
        return 1
    if dry:
        print(f"{tag} can be cut: make cut. Nothing was changed.")
    else:
        print(f"{tag} was cut. To publish it: git push origin HEAD {tag}")
    return 0


def _checked(clone: Path) -> bool:
    return release.main(clone, release.ROOT / "dist") == 0


def cut(root: Path, day: date, *, checked_by: Callable[[Path], bool], dry: bool) -> str:
    """Returns the tag of the release that was cut or, with `dry`, could be.

    Raises:
        CutError: files are not committed, the changelog says nothing, the version was released before, or
            `checked_by` found something.

    """
    version = release.version_of(root)
    tag = f"v{version}"
    if faults := [*release.faults_of_the_tree(root, version)]:
        raise CutError("\n".join(faults))
    if _git(root, "tag", "--list", tag):
        raise CutError(f"{tag} was cut already: raise the version in pyproject.toml.")
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        _git(root, "clone", "--quiet", "--no-hardlinks", str(root), str(clone))
        for name in ("user.name", "user.email"):
            if value := _git(root, "config", "--default", "", "--get", name):
                _git(clone, "config", name, value)
        lines = _give_heading(clone / "CHANGELOG.md", version, day)
        _git(clone, "commit", "--quiet", "--all", "--message", f"Release {version}")
        if not checked_by(clone):
            raise CutError("the release has faults; nothing was changed.")
        _git(
            clone,
            "tag",
            "--annotate",
            tag,
            "--cleanup=verbatim",
            "--message",
            f"Reelgate {version}\n\n{lines}",
        )
        if not dry:
            _git(root, "fetch", "--quiet", str(clone), "tag", tag)
            _git(root, "merge", "--quiet", "--ff-only", tag)
    return tag


def _give_heading(changelog: Path, version: str, day: date) -> str:
    """Puts what is unreleased below the heading of the version, and returns it."""
    text = changelog.read_text(encoding="utf-8")
    found = _UNRELEASED.search(text)
    lines = found["lines"].strip() if found else ""
    if found is None or not lines:
        raise CutError("CHANGELOG.md has no lines below `## Unreleased`: there is nothing to release.")
    heading = f"## Unreleased\n\n## {version} ({day.isoformat()})\n"
    changelog.write_text(text[: found.start()] + heading + text[found.start("lines") :], encoding="utf-8")
    return lines


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run((release.GIT, *arguments), cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CutError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
