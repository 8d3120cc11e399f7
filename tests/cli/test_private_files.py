"""Files and folders are their owner's alone, under the usual umask, whoever makes them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from app.db import revision
from app.db.engines import sqlite
from app.db.engines.engine import open_database
from app.db.engines.sqlite import make_private, server_lock
from app.generations.dispatch.spool import Spool
from tests.processes import eventually, place_for, started
from tests.rows import add_counter


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes_below(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def assert_private(folder: Path, *names: str) -> None:
    modes = modes_below(folder)
    assert set(names) <= modes.keys()
    wrong = {
        name: oct(mode)
        for name, mode in modes.items()
        if mode != (0o700 if (folder / name).is_dir() else 0o600)
    }
    assert not wrong


@pytest.mark.anyio
async def test_sqlites_own_files_are_private(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/data/reelgate.db"
    revision.upgrade(url)
    lock = server_lock(url)
    db = open_database(url)
    try:
        await db.write(add_counter)
        names = [f"data/reelgate.db{suffix}" for suffix in ("", "-wal", "-shm", ".lock", ".server")]
        assert_private(tmp_path, "data", *names)
    finally:
        await db.close()
        lock.release()


def test_the_pepper_and_the_spool_are_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    Settings(_env_file=None, data_dir=data, environment="development").current_pepper()
    Spool(data / "spool.jsonl").append("g", "u")
    assert_private(tmp_path, "data", "data/pepper", "data/spool.jsonl")


def test_what_the_sandbox_keeps_is_private(tmp_path: Path) -> None:
    place = place_for(tmp_path, "", "http://127.0.0.1:9").but(DATABASE_URL=None, SANDBOX_URL=None)
    with started(place.but(SANDBOX_PORT=place.settings["PORT"]), "sandbox", ready=False):
        eventually((tmp_path / "data" / "sandbox" / "uploads").is_dir)
        assert_private(tmp_path / "data", "sandbox/jobs", "sandbox/files")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    """A volume's mode is its platform's, and its owner may be somebody else."""
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o2777)
    revision.upgrade(f"sqlite:///{volume}/reelgate.db")
    assert stat.S_IMODE(volume.stat().st_mode) == 0o2777
    assert stat.S_IMODE((volume / "reelgate.db").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_what_root_makes_in_a_servers_folder_is_the_servers(tmp_path: Path) -> None:
    """A command of root's would otherwise leave a lock that the server cannot open."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    os.chown(folder, 10_001, 10_001)
    make_private(folder / "reelgate.db.lock")
    made = (folder / "reelgate.db.lock").stat()
    assert (made.st_uid, made.st_gid) == (10_001, 10_001)
    with sqlite.write_lock(folder / "reelgate.db"):
        pass
