"""Files are left out of a run only where none of their tests could be chosen."""

import re
from pathlib import Path

import pytest

from tests import techniques

TESTS = Path(__file__).parents[1]
CAMPAIGN, PROCESS = TESTS / "quotas" / "test_budget.py", TESTS / "gateway" / "test_kill.py"
MAKEFILE = (TESTS.parent / "Makefile").read_text("utf-8")
(QUICK,) = re.findall(r"^QUICK := (.+)$", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("path", [CAMPAIGN, PROCESS], ids=["campaign", "process"])
def test_make_quick_imports_no_file_of_which_it_runs_nothing(path: Path) -> None:
    assert techniques.is_left_out(path, QUICK)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "not deep",
        "deep",
        "process or campaign",
        "postgresql",
        "not browser",
        "anyio and not (process or campaign)",
    ],
)
@pytest.mark.parametrize("path", [CAMPAIGN, PROCESS], ids=["campaign", "process"])
def test_a_file_with_a_test_that_may_be_chosen_is_collected(path: Path, expression: str) -> None:
    assert not techniques.is_left_out(path, expression)


def test_a_file_whose_tests_differ_is_always_collected() -> None:
    assert not techniques.is_left_out(TESTS / "cli" / "test_commands.py", QUICK)


def test_every_file_that_is_named_exists() -> None:
    named = [*techniques._OF_FILES.values(), techniques.ON_BOTH, techniques._DEEP_ON_POSTGRESQL]
    missing = [file for files in named for file in files if not (TESTS / f"{file}.py").exists()]
    assert missing == []
