"""The connection that listens for other servers' announcements, with every psycopg that may be installed."""

from typing import Any

import pytest

from app.db.announcements import connect

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_psycopg_whose_waits_have_no_timeout_listens_too(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from psycopg import AsyncConnection, waiting  # noqa: PLC0415 - where the other database is left out

    looks: list[float] = []

    async def wait(self: "AsyncConnection[Any]", gen: Any, interval: float = 0.1) -> Any:
        looks.append(interval)  # as in psycopg 3.3.2
        return await waiting.wait_async(gen, self.pgconn.socket, interval=interval)

    monkeypatch.setattr(AsyncConnection, "wait", wait)
    async with await connect(database_url) as connection:
        await connection.execute("LISTEN anything")
    assert min(looks) > 1.0, "it sleeps while nothing comes"
