"""`make cut`, tried on a small repository: a release is a commit and a tag, or nothing has changed."""

import subprocess
from datetime import date
from pathlib import Path

import pytest

from tools import release
from tools.cut import CutError, cut

DAY = date(2027, 1, 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "repository"
    place.mkdir()
    (place / "pyproject.toml").write_text('[project]\nname = "reelgate"\nversion = "1.2.0"\n')
    (place / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n- Something.\n\n## 1.1.0 (2026-01-02)\n\n- Old.\n"
    )
    git(place, "init", "--quiet")
    for name, value in (("user.name", "A"), ("user.email", "a@b.example"), ("tag.gpgsign", "false")):
        git(place, "config", name, value)
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--message", "Something")
    return place


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run((release.GIT, *arguments), cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def has_no_fault(clone: Path) -> bool:
    version = release.version_of(clone)
    return not [*release.faults_of_the_tree(clone, version), *release.faults_of_the_changelog(clone, version)]


def test_a_release_is_one_commit_with_its_heading_and_a_tag_with_its_lines(root: Path) -> None:
    assert cut(root, DAY, checked_by=has_no_fault, dry=False) == "v1.2.0"
    assert git(root, "log", "-1", "--format=%s") == "Release 1.2.0"
    assert git(root, "rev-parse", "v1.2.0^{commit}") == git(root, "rev-parse", "HEAD")
    assert git(root, "status", "--porcelain") == ""
    text = (root / "CHANGELOG.md").read_text()
    assert text.startswith(
        "# Changelog\n\n## Unreleased\n\n## 1.2.0 (2027-01-02)\n\n- Something.\n\n## 1.1.0 "
    )
    assert git(root, "tag", "--list", "--format=%(contents)", "v1.2.0") == "Reelgate 1.2.0\n\n- Something."
    with pytest.raises(CutError, match=r"v1\.2\.0 was cut already: raise the version"):
        cut(root, DAY, checked_by=has_no_fault, dry=False)


@pytest.mark.parametrize("dry", [True, False])
def test_a_dry_run_or_a_fault_leaves_the_repository_as_it_was(root: Path, *, dry: bool) -> None:
    before = git(root, "rev-parse", "HEAD")
    if dry:
        assert cut(root, DAY, checked_by=has_no_fault, dry=True) == "v1.2.0"
    else:
        with pytest.raises(CutError, match="has faults"):
            cut(root, DAY, checked_by=lambda _: False, dry=False)
    assert (git(root, "rev-parse", "HEAD"), git(root, "tag"), git(root, "status", "--porcelain")) == (
        before,
        "",
        "",
    )


def test_nothing_is_cut_of_what_is_not_committed_or_not_told(root: Path) -> None:
    (root / "new.py").write_text("")
    with pytest.raises(CutError, match=r"\?\? new\.py"):
        cut(root, DAY, checked_by=has_no_fault, dry=False)
    (root / "new.py").unlink()
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 1.1.0 (2026-01-02)\n\n- Old.\n")
    git(root, "commit", "--quiet", "--all", "--message", "All was told")
    with pytest.raises(CutError, match="nothing to release"):
        cut(root, DAY, checked_by=has_no_fault, dry=False)
