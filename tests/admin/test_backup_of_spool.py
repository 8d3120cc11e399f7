"""A backup has every id of the spool, also of one that a server begins to replay meanwhile."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from app.admin.backups.backup import SPOOL, _spooled


def test_a_spool_that_is_renamed_while_it_is_read_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / SPOOL).write_text('{"generation": "a"}\n')
    (tmp_path / "spool.0.replaying").write_text('{"generation": "b"}\n')
    glob = Path.glob

    def glob_and_rename(folder: Path, pattern: str) -> Iterable[Path]:
        found = list(glob(folder, pattern))
        (tmp_path / SPOOL).rename(tmp_path / "spool.1.replaying")
        (tmp_path / "spool.0.replaying").unlink()
        return found

    monkeypatch.setattr(Path, "glob", glob_and_rename)
    assert _spooled(tmp_path) == ['{"generation": "a"}'], "what is removed is in the database"
