"""The forked processes that run our tests report everything, also their own end."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = """
import os, pytest

@pytest.mark.parametrize("number", range(20))
def test_passes(number, tmp_path):
    (tmp_path / "file").touch()

def test_fails():
    print("what it printed")
    assert os.getppid() == 0

@pytest.mark.skip(reason="a reason")
def test_is_skipped():
    pass

@pytest.fixture(scope="module")
def broken():
    yield
    raise RuntimeError("at the end")

def test_whose_fixture_breaks(broken):
    pass
"""


def _run(folder: Path, tests: str, *arguments: str) -> tuple[int, str]:
    (folder / "test_these.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "tests.forks", "--forks", "2", "-ra", "--rootdir", "."]
    done = subprocess.run(
        [*command, "-c", "/dev/null", str(folder), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_every_outcome_is_reported_with_what_was_printed(tmp_path: Path) -> None:
    code, said = _run(tmp_path, TESTS)
    assert code == 1
    assert "1 failed, 21 passed, 1 skipped, 1 error" in said
    for words in ("what it printed", "a reason", "RuntimeError: at the end"):
        assert words in said


def test_a_process_that_breaks_off_fails_the_run_and_is_told_with_its_test(tmp_path: Path) -> None:
    code, said = _run(
        tmp_path, "import os\n\ndef test_ends_all():\n    os._exit(0)\n\ndef test_other():\n    pass\n"
    )
    assert code != 0
    assert "ended at" in said
    assert "test_ends_all" in said
