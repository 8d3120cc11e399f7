from collections.abc import AsyncIterator

import pytest

from tests.mirror.upstream import Upstream, serving


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with serving() as opened:
        yield opened
