"""What tests share, because making it anew costs more than most tests do; and the patience of them all."""

import gc
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from httpx2._config import create_ssl_context
from httpx2._transports import asgi, default
from pydantic import BaseModel
from sqlalchemy import Connection, Engine, event

from app import gateway, main
from app.api import cors, problems
from app.api.headers import rate_limit
from app.catalog import catalog
from app.catalog.catalog import SHIPPED, Catalog, load_catalog
from app.config import Settings
from app.console.guides import Guides
from app.db import probe
from app.db.engines import engine, postgres, sqlite, sqlite_reader
from app.egress.tls import system_trust
from app.generations.submit import submitter

MORE_MODELS = Path(__file__).parent / "data" / "models"
"""Models beside the shipped ones, with every kind of price and of media rule."""


PATIENT_S = 60.0
_PATIENT: tuple[tuple[Any, str, Any], ...] = (
    (engine, "_ANSWER_S", PATIENT_S),
    (engine, "POOL_TIMEOUT_S", PATIENT_S),
    (postgres, "POOL_TIMEOUT_S", PATIENT_S),
    (postgres, "GUARDS", {"synchronous_commit": "on", "statement_timeout": "50s", "lock_timeout": "40s"}),
    (probe, "_PATIENCE_S", PATIENT_S),
    (sqlite_reader, "BUSY_TIMEOUT_S", PATIENT_S),
    (sqlite, "BUSY_TIMEOUT_S", PATIENT_S),
    (cors, "_MAX_S", PATIENT_S),
    (problems, "_MAX_S", PATIENT_S),
    (rate_limit, "_MAX_S", PATIENT_S),
    (submitter, "_RECORD_WAIT_S", PATIENT_S),
)
"""What a gateway allows the database, and how much of it is allowed where a machine may stall."""


@contextmanager
def patience() -> Iterator[None]:
    """Inside the block, no deadline of the database passes because the machine has other work.

    A test of such a deadline sets its own, or skips the loop's time.
    """
    with ExitStack() as stack:
        for module, name, value in _PATIENT:
            stack.enter_context(patch.object(module, name, value))
        yield


@contextmanager
def shared_work() -> Iterator[None]:
    """Inside the block, whatever is opened compiles its statements and its catalogue once per process."""
    with (
        _shared_statements(),
        patch.object(catalog, "load_catalog", _catalog_of),
        patch.object(main, "version", cache(version)),  # which parses the package's metadata
        patch.object(gateway, "version", cache(version)),
        patch.object(Guides, "found", cache(Guides.found)),  # which searches the documents' folder
    ):
        yield


DURABLE: Final = sqlite._PRAGMAS
_FOR_ONE_TEST: Final = tuple(one.replace("synchronous=FULL", "synchronous=OFF") for one in DURABLE)


@contextmanager
def thrift() -> Iterator[None]:
    """Inside the block, nothing is done that only a server needs, which lives for long and on a disk.

    SQLite waits for no disk. The garbage collector leaves alone what is there already, as in a server. httpx2
    does not look for a library that is not installed, which it does once for each request to an application,
    and reads the system's certificates once, not for each client, which takes 20 ms.
    """
    gc.collect()
    gc.freeze()
    with (
        patch.object(sqlite, "_PRAGMAS", _FOR_ONE_TEST),
        patch.object(asgi, "is_running_trio", lambda: False),
        patch.object(default, "create_ssl_context", _trust_of),
    ):
        yield


def _trust_of(verify: Any, cert: Any, trust_env: bool) -> ssl.SSLContext:
    usual = verify is True and cert is None
    return system_trust() if usual else create_ssl_context(verify, cert, trust_env)


@contextmanager
def _shared_statements() -> Iterator[None]:
    """Engines of one dialect share their compiled statements; each engine has its own otherwise."""
    compiled = _Statements()

    def share(connection: Connection) -> None:
        connection.execution_options(compiled_cache=compiled)

    event.listen(Engine, "engine_connect", share)
    try:
        yield
    finally:
        event.remove(Engine, "engine_connect", share)


class _Statements(dict[Any, Any]):
    """Compiled statements by the class of their dialect: all of ours are configured alike."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_class(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(_of_class(key), compiled)


def _of_class(key: Any) -> Any:
    dialect, *statement = key
    return (type(dialect), *statement)


def _catalog_of(*folders: Path) -> Catalog:
    """The catalogue; of folders that no test changes, one for all."""
    return _loaded(*folders) if {SHIPPED, MORE_MODELS}.issuperset(folders) else load_catalog(*folders)


_loaded = cache(load_catalog)


class GivenSettings(Settings):
    """Settings that read nothing but what they are given."""

    def __init__(self, **given: Any) -> None:
        BaseModel.__init__(self, **given)  # without the search for sources
