"""A metric that is handled nowhere does not type-check, and the table says of each what it is."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import String

from app.db.schema.tables import quota_limits
from app.quotas.amounts import NAMES, NOTHING, Amounts, amount_text
from app.quotas.metrics import SETTABLE, Metric, Unit, Window

ROOT = Path(__file__).parents[2]
OPTIONS = ("--ignore-missing-imports", "--explicit-package-bases")
PURE = ("metrics", "amounts", "limits", "periods", "standing")
NEW = {
    "unit": ('TOKENS = "tokens"', 'NEW = "new"'),
    "window": ('TOTAL = "total"', 'NEW = "new"'),
}
BAD_ROWS = (
    ('TOKENS_MINUTE = _rate("tokens-minute", Unit.TOKENS)', 'READS_DAY = _sum("x", Unit.READS, Window.DAY)'),
    ('IN_FLIGHT = _in_flight("in-flight")', 'CREDITS_MINUTE = _rate("y", Unit.MICROCREDITS)'),
)
EACH = Amounts(*range(1, len(NAMES) + 1))


def told_apart(subject: str) -> set[str]:
    """Where a `match` of that name ends in `assert_never`, as `file:line`."""
    return {
        f"{path.relative_to(ROOT)}:{number}"
        for path in (ROOT / "app").rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if line.strip() == f"assert_never({subject})"
    }


@pytest.fixture(scope="module")
def found_by_mypy(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The errors in a copy whose table has one more unit and window, and two pairs that nothing counts."""
    folder = tmp_path_factory.mktemp("copy")
    files = {Path(place.partition(":")[0]) for subject in NEW for place in told_apart(subject)}
    files |= {Path("app/quotas", f"{name}.py") for name in PURE}
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)
    table = folder / "app/quotas/metrics.py"
    text = table.read_text("utf-8")
    for old, new in (*NEW.values(), *BAD_ROWS):
        assert text.count(f"    {old}\n") == 1
        text = text.replace(f"    {old}\n", f"    {old}\n    {new}\n")
    table.write_text(text, "utf-8")
    mypy = [sys.executable, "-m", "mypy", *OPTIONS, *sorted(map(str, files))]
    done = subprocess.run(mypy, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if ": error: " in line]


@pytest.mark.parametrize("subject", NEW)
def test_a_new_unit_or_window_fails_the_type_check_wherever_they_are_told_apart(
    found_by_mypy: list[str], subject: str
) -> None:
    literal = re.escape(f"Literal[{subject.title()}.NEW]")
    wrong = rf"(.*:[0-9]+): error: Argument 1 to \"assert_never\" has incompatible type \"{literal}\".*"
    places = {found[1] for line in found_by_mypy if (found := re.fullmatch(wrong, line))}
    assert places == told_apart(subject)
    assert len(places) >= 5


def test_a_pair_that_nothing_counts_is_no_row_of_the_table(found_by_mypy: list[str]) -> None:
    rows = [line for line in found_by_mypy if line.startswith("app/quotas/metrics.py:")]
    assert len(rows) == len(BAD_ROWS)
    assert all("incompatible type" in line for line in rows)


def test_a_metric_is_found_by_its_name_and_says_its_unit_and_window() -> None:
    for metric in Metric:
        assert Metric(str(metric)) is metric
        assert (metric.unit in Unit, metric.window in Window) == (True, True)
    assert (Metric("credits-day").unit, Metric("credits-day").window) == (Unit.MICROCREDITS, Window.DAY)
    with pytest.raises(ValueError, match="credits-week"):
        Metric("credits-week")


def test_every_metric_fits_its_column_and_the_playground_has_a_name_for_it() -> None:
    column = quota_limits.c.metric.type
    assert isinstance(column, String)
    assert max(map(len, Metric)) <= (column.length or 0)
    page = (ROOT / "app/console/static/playground-checkout.js").read_text("utf-8")
    named = re.search(r"const METRICS = \{(.*?)\};", page, re.DOTALL)
    assert named is not None
    assert re.findall(r'"([a-z-]+)": "', named[1]) == list(SETTABLE)


def test_the_documents_name_every_unit_that_can_be_limited() -> None:
    for name in ("operating.md", "api.md"):
        document = (ROOT / "docs" / name).read_text("utf-8")
        for metric in SETTABLE:
            family = metric if metric.window in {Window.MINUTE, Window.NOW} else metric.rpartition("-")[0]
            assert f"`{family}" in document, (name, metric)


def test_every_unit_and_window_is_some_metrics() -> None:
    assert {metric.unit for metric in Metric} == set(Unit)
    assert {metric.window for metric in Metric} == set(Window)


def test_amounts_are_added_and_taken_away_member_by_member() -> None:
    assert Amounts(*(2 * getattr(EACH, name) for name in NAMES)) == EACH + EACH
    assert EACH - EACH == NOTHING
    assert EACH + NOTHING == EACH
    assert (NOTHING - EACH) + EACH == NOTHING


def test_a_generation_is_also_one_submit_and_one_request_and_no_call() -> None:
    one = Amounts(generations=1, microcredits=150_000, output_seconds=5)
    counted = {unit: one.of(unit) for unit in (Unit.SUBMITS, Unit.REQUESTS, Unit.READS, Unit.CALLS)}
    assert counted == {Unit.SUBMITS: 1, Unit.REQUESTS: 1, Unit.READS: 0, Unit.CALLS: 0}
    assert (one.of(Unit.MICROCREDITS), one.of(Unit.OUTPUT_SECONDS)) == (150_000, 5)
    texts = [amount_text(unit, 150_000) for unit in (Unit.MICROCREDITS, Unit.OUTPUT_SECONDS)]
    assert texts == ["0.15", "150000"]
