"""Files are left out of a run only where none of their tests could be chosen."""

import re
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import costs, techniques

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
    named = [
        *techniques._OF_FILES.values(),
        techniques.ON_BOTH,
        techniques._DEEP_ON_POSTGRESQL,
        techniques._RARE_FILES,
    ]
    missing = [file for files in named for file in files if not (TESTS / f"{file}.py").exists()]
    assert missing == []


def test_every_test_that_is_named_exists() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)\(", sources))
    named = [
        *techniques._OF_TESTS.values(),
        techniques._PRODUCTS,
        techniques._LONG,
        techniques._RARE,
        techniques._OF_THE_PLAYGROUND,
    ]
    assert [test for tests in named for test in tests if test not in there] == []


def test_every_costly_test_exists() -> None:
    def is_there(file: str, name: str) -> bool:
        path = TESTS / file
        return path.exists() and f"def {name}(" in path.read_text("utf-8")

    parts = [one.split("::") for one in costs.known()]
    assert [one for one in parts if not is_there(one[0], one[-1])] == []


def test_of_all_combinations_each_value_is_kept_and_few_of_them_twice() -> None:
    tests: list[Any] = [
        SimpleNamespace(nodeid=f"test_x[{database}-{one}-{other}]", callspec=SimpleNamespace(params=params))
        for database, one, other in product(("sqlite", "postgresql"), range(3), "abcde")
        for params in [{"database": database, "one": one, "other": other, "same": "same"}]
    ]
    surplus = techniques._surplus(tests)
    kept = [tuple(test.callspec.params.values()) for test in tests if test.nodeid not in surplus]
    even = [(0, "a"), (0, "d"), (1, "b"), (1, "e"), (2, "c")]
    assert kept == [(database, *pair, "same") for database in ("sqlite", "postgresql") for pair in even]
