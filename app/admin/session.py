"""What a use case needs of a gateway, and how a command opens just that."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from app.config import Settings
from app.db import revision
from app.db.engine import Database
from app.kit.clock import Clock, SystemClock
from app.quotas.limits import parse_limit

if TYPE_CHECKING:
    from app.catalog.catalog import Catalog
    from app.catalog.model import Model


class Models(Protocol):
    """The catalogue, as far as an operator's use cases ask it."""

    @property
    def models(self) -> "Mapping[str, Model]":
        """Every model by its id."""


class AdminGateway(Protocol):
    """What a use case works with: an `AdminSession`, or a whole gateway."""

    @property
    def settings(self) -> Settings:
        """The settings."""

    @property
    def clock(self) -> Clock:
        """Where the time comes from."""

    @property
    def db(self) -> Database:
        """The database, whose schema is this code's."""

    @property
    def catalog(self) -> Models:
        """The models that are served."""


class AdminSession:
    """The database alone; the catalogue is read when a use case asks for it."""

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
    """Open what the use cases need, beside a running server or without one; for a process of its own.

    Raises:
        LimitError: a default limit of the settings cannot be understood.
        SchemaError: the database has to be migrated first.
        Problem: DATABASE_UNAVAILABLE.

    """
    for one in settings.default_limits:
        parse_limit(one)
    db = await revision.open_checked(settings.database, pool=1, light=True)
    try:
        yield AdminSession(settings, clock or SystemClock(), db)
    finally:
        await db.close()
