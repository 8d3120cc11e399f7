"""`make release`: builds wheel and sdist of HEAD, and checks what a release needs. It publishes nothing.

The version stands in `pyproject.toml` alone. A release is the commit that a tag `vVERSION` names, whose
changelog has a section for it. Both archives are built twice, from the files that the commit has, and must be
the same bytes: so whoever has the commit can prove what an archive is made of.
"""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
GIT: Final = shutil.which("git") or "/usr/bin/git"
_DATED: Final = r"^## {version} \(\d{{4}}-\d\d-\d\d\)$"
_NEEDED: Final = {
    "app/_shipped/README.md",
    "app/_shipped/docs/operating.md",
    "app/_shipped/migrations/env.py",
    "app/console/static/client.js",
    "app/catalog/models",
}
_NOT_IN_THE_WHEEL: Final = re.compile(r"(^|/)(tests|__pycache__|\.env|data)(/|$)|\.pyc$")


def main(root: Path = ROOT, target: Path = ROOT / "dist") -> int:
    """Builds into `target`, says what is wrong, and returns the exit code."""
    version = version_of(root)
    faults = [*faults_of_the_tree(root, version), *faults_of_the_changelog(root, version)]
    built = build(root, target)
    with tempfile.TemporaryDirectory() as again:
        faults += [
            f"{one.name} is not reproducible: two builds differ."
            for one, other in zip(built, build(root, Path(again)), strict=True)
            if sha256(one) != sha256(other)
        ]
    for one in built:
        faults += faults_of_the_contents(one, root, version)
    sums = "".join(f"{sha256(one)}  {one.name}\n" for one in built)
    (target / "SHA256SUMS").write_text(sums)
    print(sums, end="")
    for fault in faults:
        print(f"release: {fault}", file=sys.stderr)
    if not faults:
        print(
            f"Reelgate {version} can be released. Nothing was published; CONTRIBUTING.md says what is next."
        )
    return 1 if faults else 0


def version_of(root: Path) -> str:
    """Returns the version, from the one place where it stands."""
    found: str = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return found


def faults_of_the_tree(root: Path, version: str) -> Iterator[str]:
    """Yields what is wrong with the working tree and the tag."""
    if changed := _git(root, "status", "--porcelain").strip():
        yield f"files differ from the commit, which alone is built:\n{changed}"
    head = _git(root, "rev-parse", "HEAD").strip()
    tagged = _git(root, "tag", "--list", f"v{version}").strip()
    if tagged and _git(root, "rev-list", "-n", "1", tagged).strip() != head:
        yield f"the tag v{version} names another commit: raise the version in pyproject.toml."
    [*_, newest] = ["", *_git(root, "tag", "--list", "v[0-9]*", "--sort=version:refname").split()]
    if newest and _numbers(newest) > _numbers(f"v{version}"):
        yield f"the version {version} is below the tag {newest}."


def faults_of_the_changelog(root: Path, version: str) -> Iterator[str]:
    """Yields what is wrong with the changelog."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(_DATED.format(version=re.escape(version)), text, re.MULTILINE):
        yield f"CHANGELOG.md has no section `## {version} (YYYY-MM-DD)`: give Unreleased that heading."
    unreleased = re.search(r"^## Unreleased\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if unreleased and unreleased[1].strip():
        yield "CHANGELOG.md still has lines below Unreleased, which the release would have without saying so."


def build(root: Path, target: Path) -> list[Path]:
    """Builds wheel and sdist of the commit, into a folder, and returns both."""
    target.mkdir(parents=True, exist_ok=True)
    moment = _git(root, "log", "-1", "--format=%ct").strip()
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            (GIT, "archive", "--format=tar", "HEAD"), cwd=root, capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        for kind in ("wheel", "sdist"):
            _run(
                (sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(target)),
                folder,
                SOURCE_DATE_EPOCH=moment,
            )
    version = version_of(root)
    return [target / f"reelgate-{version}-py3-none-any.whl", target / f"reelgate-{version}.tar.gz"]


def faults_of_the_contents(archive: Path, root: Path, version: str) -> Iterator[str]:
    """Yields what an archive lacks, and what does not belong into it."""
    names = names_in(archive)
    if archive.suffix == ".whl":
        migrations = {f"app/_shipped/migrations/versions/{one}" for one in _migrations(root)}
        yield from (
            f"the wheel lacks {one}." for one in sorted((_NEEDED | migrations) - _with_folders(names))
        )
        yield from (f"the wheel has {one}." for one in names if _NOT_IN_THE_WHEEL.search(one))
        if f"reelgate-{version}.dist-info/METADATA" not in names:
            yield f"the wheel does not say that it is {version}."
        return
    inside = {one.partition("/")[2] for one in names}
    tracked = set(_git(root, "ls-tree", "-r", "--name-only", "HEAD").split("\n"))
    ours = {one for one in tracked if one.partition("/")[0] in {"app", "migrations", "docs", "tests"}}
    yield from (f"the sdist lacks {one}." for one in sorted(ours - inside))


def names_in(archive: Path) -> list[str]:
    """Returns the names of an archive's files."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.namelist()
    with tarfile.open(archive) as sdist:
        return sdist.getnames()


def sha256(file: Path) -> str:
    """Returns the digest of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _with_folders(names: Sequence[str]) -> set[str]:
    return {*names, *(str(parent) for one in names for parent in Path(one).parents)}


def _migrations(root: Path) -> list[str]:
    return [one.name for one in (root / "migrations" / "versions").glob("*.py")]


def _numbers(tag: str) -> list[int]:
    return [int(one) for one in re.findall(r"\d+", tag)]


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run((GIT, *arguments), cwd=root, capture_output=True, text=True, check=True).stdout


def _run(command: Sequence[str], folder: str, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"release: {' '.join(command)} failed:\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
