from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.webhooks.receiver import KEY, Receiver, receiving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


@pytest.fixture
def world_settings(receiver: Receiver) -> dict[str, Any]:
    return {"webhook_key": KEY, "http_webhook_hosts": f"127.0.0.1:{receiver.port}"}
