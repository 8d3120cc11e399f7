from collections.abc import Iterator

import pytest

from tests.sandbox.harness import Running, running


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One sandbox for every test that does not need its own; wide enough that no job waits for another."""
    with running(tmp_path_factory.mktemp("sandbox"), concurrency=1_000_000, hang_limit_s=5.0) as sandbox:
        yield sandbox
