"""Rows of assets, for tests that need no request behind them."""

from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, insert

from app.db.schema.asset_states import AssetState
from app.db.schema.tables import assets
from app.kit.ids import new_id
from app.mirror.rows import ASSET, Asset

NOW_MS = 1_790_000_000_000


def add_asset(connection: Connection, tenant_id: str, **values: Any) -> str:
    """Insert an asset that is due now, of a request of its own; returns its id."""
    asset_id = ASSET + new_id(NOW_MS)
    connection.execute(
        insert(assets).values(
            {
                "id": asset_id,
                "tenant_id": tenant_id,
                "mode": "test",
                "generation_id": new_id(NOW_MS),
                "kid": "kid",
                "place": 0,
                "pointer": "/video",
                "state": "pending",
                "next_at_ms": NOW_MS,
                "created_at_ms": NOW_MS,
            }
            | values
        )
    )
    return asset_id


def an_asset(**values: Any) -> Asset:
    """Return an asset that is in no database."""
    given: dict[str, Any] = {field.name: None for field in fields(Asset)} | {
        "id": ASSET + "01990000-0000-7000-8000-000000000001",
        "tenant_id": "01990000-0000-7000-8000-0000000000aa",
        "mode": "test",
        "generation_id": "01990000-0000-7000-8000-0000000000bb",
        "kid": "kid",
        "place": 0,
        "pointer": "/video",
        "state": AssetState.COPYING,
        "attempts": 1,
        "next_at_ms": NOW_MS,
        "created_at_ms": NOW_MS,
    }
    return Asset(**(given | values))
