"""Real servers of files, for the few tests that need one."""

from tests.storage.conftest import endpoints as endpoints  # noqa: PLC0414 - for the tests
