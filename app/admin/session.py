"""What use cases need of a gateway, and how a command opens only that."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from app.config import Settings
from app.db import revision
from app.db.engines.engine import Database
from app.kit.clock import Clock, SystemClock
from app.quotas.limits import parse_limit

if TYPE_CHECKING:
    from app.catalog.catalog import Catalog
    from app.catalog.model import Model


class Models(Protocol):
    """The part of the catalogue that use cases need."""

    @property
    def models(self) -> "Mapping[str, Model]":
        """All models, by their ids."""


class AdminGateway(Protocol):
    """What a use case works with: an `AdminSession`, or a whole gateway."""

    @property
    def settings(self) -> Settings:
        """The settings."""

    @property
    def clock(self) -> Clock:
        """The clock that times are read from."""

    @property
    def db(self) -> Database:
        """The database, whose schema is the one that this code needs."""

    @property
    def catalog(self) -> Models:
        """The models that are served."""


class AdminSession:
    """The `AdminGateway` of a command: an open database, and the catalogue once a use case asks for it."""

    def __init__(self, settings: Settings, clock: Clock, db: Database) -> None:
        self.settings = settings
        self.clock = clock
        self.db = db

    @cached_property
    def catalog(self) -> "Catalog":
        """The models that are served.

        Raises:
            CatalogError: a model file cannot be understood.

        """
        from app.catalog.catalog import open_catalog  # noqa: PLC0415 - most commands do without it

        return open_catalog(self.settings)


@asynccontextmanager
async def open_admin(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[AdminSession]:
    """Opens what use cases need, in a process of its own, beside a running server or without one.

    Raises:
        LimitError: a default limit of the settings cannot be understood.
        SchemaError: the database has to be migrated first.
        Problem: DATABASE_UNAVAILABLE.

    """
    for one in settings.default_limits:
        parse_limit(one)
    db = await revision.open_checked(settings.database, pool=1)
    try:
        yield AdminSession(settings, clock or SystemClock(), db)
    finally:
        await db.close()
