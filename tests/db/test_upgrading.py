"""Schemas that move on beside servers: which ones a version accepts, what is refused, and back-fills."""

import shutil
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text, update
from sqlalchemy.exc import OperationalError

from app.db import migrating, processes, revision
from app.db.engines.engine import open_database
from app.db.processes import ALIVE_MS, Heartbeat
from app.db.revision import SchemaError
from app.db.schema.tables import processes as rows
from tests.admin.books import engine_of
from tests.harness import FakeClock

pytestmark = pytest.mark.anyio
ADDS = """
def upgrade():
    op.add_column("tenants", sa.Column("colour", sa.String(10)))

def downgrade():
    op.drop_column("tenants", "colour")

def backfill(connection, position):
    query = sa.text("SELECT id, name FROM tenants WHERE id > :position ORDER BY id LIMIT 1")
    row = connection.execute(query, {"position": position}).first()
    if row is None:
        return None
    if row.name == "fails":
        raise RuntimeError("half way")
    connection.execute(sa.text("UPDATE tenants SET colour = name WHERE id = :id"), {"id": row.id})
    return row.id
"""
TAKES_AWAY = """
floor = "9001"

def upgrade():
    op.drop_column("tenants", "colour")

def downgrade():
    op.add_column("tenants", sa.Column("colour", sa.String(10)))
"""


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = engine_of(url)
    with engine.begin() as connection:
        for number, name in enumerate(("red", "green", "blue")):
            connection.execute(
                text("INSERT INTO tenants (id, name, created_at_ms) VALUES (:id, :name, 1)"),
                {"id": f"tenant-{number}", "name": name},
            )
    yield engine
    engine.dispose()


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Versions":
    return Versions(tmp_path / "migrations", monkeypatch)


class Versions:
    """Versions of the code: each knows the migrations of its folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ours = revision.migrations_folder()
        self._head = revision.HEAD
        self._earlier = revision.EARLIER
        self._folder = folder
        self._monkeypatch = monkeypatch

    def be_next(self, *migrations: str) -> None:
        """Becomes a version with these migrations behind ours, numbered from 9001."""
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._ours, self._folder, ignore=shutil.ignore_patterns("__pycache__"))
        before = self._head
        for number, body in enumerate(migrations, 9001):
            head = f"revision = '{number}'\ndown_revision = '{before}'\n"
            text = f'"""Next."""\nimport sqlalchemy as sa\nfrom alembic import op\n{head}{body}'
            (self._folder / "versions" / f"{number}_next.py").write_text(text)
            before = str(number)
        self._use(self._folder, before, {"9001"} if TAKES_AWAY in migrations else set())

    def be_ours(self) -> None:
        self._use(self._ours, self._head, self._earlier)

    def _use(self, folder: Path, head: str, earlier: AbstractSet[str]) -> None:
        self._monkeypatch.setattr(revision, "EARLIER", earlier)
        self._monkeypatch.setattr(revision, "migrations_folder", lambda: folder)
        self._monkeypatch.setattr(revision, "HEAD", head)


async def opens(url: str) -> None:
    db = await revision.open_checked(url, pool=1)
    await db.close()


def colours(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT colour FROM tenants ORDER BY id")).scalars())


async def test_a_version_uses_later_schemas_that_only_add_until_one_takes_away_what_it_needs(
    url: str, engine: Engine, versions: Versions
) -> None:
    versions.be_next(ADDS)
    with pytest.raises(SchemaError, match=r"this code needs 9001; run `reelgate migrate`"):
        await opens(url)
    told: list[str] = []
    assert revision.upgrade(url, told.append) == (versions._head, "9001")
    assert told == ["9001: Next.", "9001: 4 batches filled in."]
    assert colours(engine) == ["red", "green", "blue"]
    await opens(url)
    versions.be_ours()
    await opens(url)
    with pytest.raises(SchemaError, match="is at 9001, which is newer than this version knows"):
        revision.upgrade(url)
    versions.be_next(ADDS, TAKES_AWAY)
    assert revision.upgrade(url) == ("9001", "9002")
    await opens(url)
    versions.be_ours()
    with pytest.raises(SchemaError, match="which servers without migration 9001 cannot use"):
        await opens(url)
    versions.be_next(ADDS)
    await opens(url)  # it can do without


async def test_a_contraction_waits_until_every_server_that_needs_what_goes_is_replaced(
    url: str, engine: Engine, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    if url.startswith("sqlite"):
        pytest.skip("On SQLite the lock of the one server says whether it runs.")
    clock = FakeClock()
    monkeypatch.setattr("app.db.revision.time.time_ns", lambda: clock.now_ms() * 1_000_000)
    db = open_database(url, pool=1)
    try:
        old = Heartbeat(db, clock, "worker")
        await old.run_once()
        versions.be_next(ADDS, TAKES_AWAY)
        with pytest.raises(SchemaError, match=r"9002 takes away what these still need: worker .*schema 00"):
            revision.upgrade(url)
        assert colours(engine) == ["red", "green", "blue"], "what came before it stays"
        await opens(url)  # servers of the new version start on it: they do without what goes
        new = Heartbeat(db, clock, "server")
        await new.run_once()
        await old.leave()
        assert [one.schema for one in await db.read(processes.alive, now_ms=clock.now_ms())] == ["9002"]
        assert revision.upgrade(url) == ("9001", "9002")
        versions.be_ours()
        with pytest.raises(SchemaError):
            await db.write(processes._beat, old._row, now_ms=clock.now_ms())
    finally:
        await db.close()


async def test_a_killed_server_counts_for_a_minute(url: str) -> None:
    clock = FakeClock()
    db = open_database(url, pool=1)
    try:
        await Heartbeat(db, clock, "server").run_once()
        for seen_before_ms, count in ((ALIVE_MS // 2, 1), (ALIVE_MS // 2, 0)):
            at_ms = rows.c.seen_at_ms
            earlier = update(rows).values(seen_at_ms=at_ms - seen_before_ms)
            await db.write(lambda connection, statement: connection.execute(statement) and None, earlier)
            assert len(await db.read(processes.alive, now_ms=clock.now_ms())) == count
    finally:
        await db.close()


async def test_on_postgresql_a_server_whose_clock_is_wrong_is_alive_all_the_same(url: str) -> None:
    if url.startswith("sqlite"):
        pytest.skip("On SQLite there is one machine, and its clock.")
    behind = FakeClock()
    behind.advance(-3_600)
    db = open_database(url, pool=1)
    try:
        await Heartbeat(db, behind, "server").run_once()
        assert len(await db.read(processes.alive, now_ms=FakeClock().now_ms())) == 1
    finally:
        await db.close()


async def test_a_back_fill_that_was_interrupted_goes_on_where_it_was_and_no_server_starts_before(
    url: str, engine: Engine, versions: Versions
) -> None:
    rename = text("UPDATE tenants SET name = :name WHERE id = 'tenant-1'")
    with engine.begin() as connection:
        connection.execute(rename, {"name": "fails"})
    versions.be_next(ADDS)
    with pytest.raises(RuntimeError, match="half way"):
        revision.upgrade(url)
    assert colours(engine) == ["red", None, None]
    with pytest.raises(
        SchemaError, match=r"back-fill of migration 9001 is not finished; run `reelgate migrate`"
    ):
        await opens(url)
    versions.be_ours()
    await opens(url)  # servers of the version before go on
    versions.be_next(ADDS)
    with engine.begin() as connection:
        connection.execute(rename, {"name": "green"})
        connection.execute(text("UPDATE tenants SET name = 'not again' WHERE id = 'tenant-0'"))
    assert revision.upgrade(url) == ("9001", "9001")
    assert colours(engine) == ["red", "green", "blue"]
    await opens(url)


async def test_a_migration_beside_servers_never_waits_long_for_a_table(
    url: str, engine: Engine, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    if url.startswith("sqlite"):
        pytest.skip("On SQLite no server runs meanwhile.")
    monkeypatch.setattr("app.db.migrating._LOCK_TIMEOUT", "1ms")
    monkeypatch.setattr("app.db.migrating._PAUSE_S", 0)
    versions.be_next(ADDS)
    told: list[str] = []
    with engine.connect() as reader:
        reader.execute(text("SELECT 1 FROM tenants"))  # its transaction keeps the table

        def tell(words: str) -> None:
            told.append(words)
            if len(told) == 3:
                reader.rollback()

        assert revision.upgrade(url, tell)[1] == "9001"
    assert told[:3] == ["A table is in use; trying again."] * 3


def test_a_migration_says_in_words_and_by_its_floor_whether_servers_go_on_beside_it() -> None:
    script = ScriptDirectory(str(revision.migrations_folder()))
    lasting = [one for one in script.walk_revisions() if hasattr(one.module, "floor")]
    assert lasting, "0024 has one"
    older = {one.revision for one in script.iterate_revisions("0024", "base")} - {"0024"}
    for one in script.walk_revisions():
        if one.revision in older:
            continue
        assert ("Not rolling" in one.longdoc + one.doc) == hasattr(one.module, "floor"), one.path
        if hasattr(one.module, "floor"):
            before = {each.revision for each in script.iterate_revisions(one.revision, "base")}
            assert one.module.floor in before, "a migration that is not known yet cannot be the floor"


def test_schemas_before_the_newest_are_used_where_only_what_the_code_does_without_comes_behind_them() -> None:
    script = ScriptDirectory(str(revision.migrations_folder()))
    earlier = set()
    for one in script.walk_revisions():
        if (
            getattr(one.module, "floor", one.revision) == one.revision
        ):  # it adds, or every server must know it
            break
        earlier.add(one.down_revision)
    assert earlier == revision.EARLIER


def test_what_the_code_knows_are_the_migrations_of_its_folder() -> None:
    script = ScriptDirectory(str(revision.migrations_folder()))
    assert revision.known() == {one.revision for one in script.walk_revisions()}


@pytest.mark.parametrize("code", ["55P03", "40P01"])
def test_a_migration_that_meets_a_table_in_use_is_tried_again(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class InUseError(Exception):
        sqlstate = code

    left, told = [OperationalError("ALTER TABLE", None, InUseError())] * 2, list[str]()

    def work() -> str:
        if left:
            raise left.pop()
        return "9001"

    monkeypatch.setattr(migrating, "_PAUSE_S", 0)
    assert migrating._patiently(work, told.append) == "9001"
    assert told == ["A table is in use; trying again."] * 2
