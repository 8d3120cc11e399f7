"""How every command starts: settings read, logs set up, errors said in one line."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

import typer
from pydantic import SecretStr, ValidationError
from sqlalchemy.exc import DBAPIError

from app.auth.keys import APIKeyError
from app.auth.tenants import TenantError
from app.catalog.catalog import CatalogError
from app.config import PREFIX, Settings, SettingsError
from app.db.sqlite import DatabaseBusyError, ServerRunningError
from app.errors import Problem
from app.gateway import Gateway, SchemaError, open_gateway
from app.generations.reconcile import BillError
from app.generations.resolve import ResolveError
from app.kit.log import configure_logging
from app.kit.redaction import redactor
from app.quotas.limits import LimitError

R = TypeVar("R")

_KNOWN = (
    APIKeyError,
    BillError,
    CatalogError,
    DatabaseBusyError,
    LimitError,
    OSError,
    Problem,
    ResolveError,
    SchemaError,
    ServerRunningError,
    SettingsError,
    TenantError,
)


def settings_or_exit() -> Settings:
    """The settings, or a line for each that is wrong and exit code 2. No log shows their secrets."""
    try:
        settings = Settings()
    except UnicodeError as error:
        typer.echo(f"reelgate: .env is not UTF-8: {error}", err=True)
        raise typer.Exit(2) from error
    except ValidationError as error:
        for one in error.errors():
            name = "_".join(str(part) for part in one["loc"]).upper()
            setting = f"{PREFIX}{name}: " if name else ""
            typer.echo(f"reelgate: {setting}{one['msg'].removeprefix('Value error, ')}", err=True)
        raise typer.Exit(2) from error
    # Whatever the command is: here no pepper is asked for, and none made.
    given = {"environment": "development", "pepper": settings.pepper or SecretStr("")}
    redactor.remember(settings.model_copy(update=given).secrets())
    return settings


def log_for_server(settings: Settings) -> None:
    """Logs as the settings want them."""
    chosen = settings.log_format or ("console" if settings.development else "json")
    configure_logging(level=settings.log_level, as_json=chosen == "json")


def with_gateway(work: Callable[[Gateway], Awaitable[R]]) -> R:
    """Open the gateway for one command, beside a running server or without one."""
    settings = settings_or_exit()
    configure_logging(level="ERROR", as_json=False)

    async def run() -> R:
        async with open_gateway(settings) as gateway:
            return await work(gateway)

    with plain_errors():
        return asyncio.run(run())


@contextmanager
def plain_errors() -> Iterator[None]:
    """Known errors end the command with one line and exit code 1, without a stack trace."""
    try:
        yield
    except _KNOWN as error:
        fail(error.detail if isinstance(error, Problem) else str(error))
    except DBAPIError as error:
        fail(f"the database refuses: {' '.join(str(error.orig).split())}")


def fail(message: str) -> NoReturn:
    """Say what is wrong and end with exit code 1."""
    typer.echo(f"reelgate: {message}", err=True)
    raise typer.Exit(1)


def development_by_default() -> None:
    """Make this process, and those that it starts, a developer's unless somebody said otherwise."""
    if "environment" not in settings_or_exit().model_fields_set:
        os.environ[f"{PREFIX}ENVIRONMENT"] = "development"


def executable() -> list[str]:
    """How this very command is started again."""
    return [sys.executable, "-m", "app.cli.entry"]
