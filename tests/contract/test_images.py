"""Images that others build: each is named by a tag and a digest, so what is built today is built tomorrow."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"(?P<name>[\w./-]+):(?P<tag>[\w.-]+)@sha256:[0-9a-f]{64}")
STAGE = re.compile(r"^FROM (?P<image>\S+)(?: AS (?P<name>\S+))?$", re.MULTILINE)


def test_every_base_image_has_a_tag_and_a_digest() -> None:
    text = (ROOT / "Dockerfile").read_text()
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    stages: set[str] = set()
    for base, name in STAGE.findall(text):
        image = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], base)
        assert image in stages or PINNED.fullmatch(image), image
        stages.add(name)
    assert len(stages) > 1
    assert len(re.findall(r"^FROM\b", text, re.MULTILINE)) == len(STAGE.findall(text))
    assert "--from=build" in text, "and nothing is copied from another image"
    assert set(re.findall(r"--from=(\S+)", text)) <= stages


def test_every_image_of_compose_is_built_here_or_has_a_tag_and_a_digest() -> None:
    text = (ROOT / "compose.yaml").read_text()
    assert "build: .\n  image: reelgate\n" in text
    others = [image for image in re.findall(r"\bimage: *(\S+)", text) if image != "reelgate"]
    assert len(others) == 1
    assert all(PINNED.fullmatch(image) for image in others), others


def test_the_base_has_the_python_that_the_project_is_tested_with() -> None:
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    [tested] = re.findall(r'python-version: "([\d.]+)"', workflow)
    assert f"\nFROM python:{tested}-" in (ROOT / "Dockerfile").read_text()


def test_digests_are_kept_current() -> None:
    kept = re.findall(r"- package-ecosystem: (\S+)", (ROOT / ".github/dependabot.yml").read_text())
    assert {*kept} >= {"docker", "docker-compose"}
