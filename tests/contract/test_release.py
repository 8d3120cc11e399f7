"""What `make release` refuses, tried on a small repository."""

import subprocess
from pathlib import Path

import pytest

from tools import release


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "reelgate"\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.0 (2027-01-02)\n\n- Something.\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "tag.gpgsign=false")
    subprocess.run((release.GIT, *identity, *arguments), cwd=root, check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "Something")


def faults(root: Path) -> list[str]:
    version = release.version_of(root)
    return [*release.faults_of_the_tree(root, version), *release.faults_of_the_changelog(root, version)]


def test_a_clean_commit_with_a_dated_section_can_be_released_also_once_it_is_tagged(root: Path) -> None:
    assert faults(root) == []
    git(root, "tag", "v1.2.0")
    assert faults(root) == []


def test_what_is_not_committed_is_refused(root: Path) -> None:
    (root / "new.py").write_text("")
    assert "?? new.py" in faults(root)[0]


def test_a_version_that_is_released_already_is_refused(root: Path) -> None:
    git(root, "tag", "v1.2.0")
    commit(root)
    assert faults(root) == ["the tag v1.2.0 names another commit: raise the version in pyproject.toml."]


def test_a_version_below_an_older_one_is_refused(root: Path) -> None:
    git(root, "tag", "v1.10.0")
    git(root, "tag", "v1.9.0")
    assert faults(root) == ["the version 1.2.0 is below the tag v1.10.0."]


@pytest.mark.parametrize(
    ("changelog", "words"),
    [
        ("## Unreleased\n\n- Something.\n", "has no section `## 1.2.0"),
        ("## 1.2.0\n", "has no section"),
        ("## 1.2.0 (soon)\n", "has no section"),
        ("## Unreleased\n\n- More.\n\n## 1.2.0 (2027-01-02)\n", "still has lines below Unreleased"),
    ],
)
def test_a_changelog_that_does_not_say_what_is_released_is_refused(
    root: Path, changelog: str, words: str
) -> None:
    (root / "CHANGELOG.md").write_text(changelog)
    commit(root)
    assert any(words in one for one in faults(root))


def test_an_empty_unreleased_section_is_no_fault(root: Path) -> None:
    (root / "CHANGELOG.md").write_text("## Unreleased\n\n## 1.2.0 (2027-01-02)\n\n- Something.\n")
    commit(root)
    assert faults(root) == []
