"""A generation made of a row is as good as one made field by field."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest

from app.generations import store
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.quotas.balances.ledger import Charge
from tests.harness import World

pytestmark = pytest.mark.anyio


async def test_a_row_gives_every_field_and_none_can_be_changed(world: World) -> None:
    request_id = await world.submitted("queued")
    found = await world.gateway.db.read(store.find, request_id, None)
    assert found is not None
    assert found == Generation(**{one.name: getattr(found, one.name) for one in fields(Generation)})
    assert isinstance(found.state, State)
    assert isinstance(found.charge, Charge)
    assert replace(found, starts_at_ms=1).starts_at_ms == 1
    assert found.starts_at_ms is None
    with pytest.raises(FrozenInstanceError):
        found.state = State.FAILED  # type: ignore[misc]
