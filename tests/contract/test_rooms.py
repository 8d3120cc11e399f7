"""No folder of the application is crowded: its modules can be looked over."""

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST = 15


def test_no_folder_holds_more_modules_than_can_be_looked_over() -> None:
    """Who adds one too many divides the folder by what its modules are about (docs/decisions, 74)."""
    counts = Counter(path.parent for path in (ROOT / "app").rglob("*.py") if path.name != "__init__.py")
    crowded = {str(folder.relative_to(ROOT)): count for folder, count in counts.items() if count > MOST}
    assert crowded == {}
