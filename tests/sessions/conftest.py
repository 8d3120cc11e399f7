from typing import Any

import pytest

from tests.sessions.browsing import ORIGIN


@pytest.fixture
def world_settings() -> dict[str, Any]:
    return {"admin_api": True, "console": True, "portal": True, "public_url": ORIGIN}
