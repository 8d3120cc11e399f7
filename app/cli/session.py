"""What commands share: reading the settings, setting up the log, opening a session, printing errors."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn, TypeVar, cast

import typer
from pydantic import SecretStr, ValidationError
from sqlalchemy.exc import DBAPIError

from app.admin.actor import of_command
from app.admin.operation import Operation
from app.admin.paging import MAX_PAGE
from app.admin.session import AdminGateway, AdminSession, open_admin
from app.auth.keys import newest_pepper_id
from app.cli.remote import elsewhere
from app.cli.tables import say
from app.config import Settings, SettingsError
from app.db.engines.sqlite import ServerRunningError
from app.db.outage import DatabaseBusyError
from app.db.revision import SchemaError
from app.errors import Problem
from app.kit.log import configure_logging, get_logger, log_stray_errors
from app.kit.redaction import redactor
from app.kit.secrets import pepper_id
from app.quotas.limits import LimitError
from app.settings.values import PREFIX
from app.variables import misspelt

if TYPE_CHECKING:
    from app.gateway import Gateway

D = TypeVar("D")
R = TypeVar("R")

_KNOWN = (DatabaseBusyError, LimitError, OSError, SchemaError, ServerRunningError, SettingsError)


_MAX_IN_MEMORY: Final = 2**23
_log = get_logger("settings")


def settings_or_exit(*, server: bool = False) -> Settings:
    """Returns the settings; where some are wrong, prints a line for each and exits with code 2.

    The log hides the settings' secrets from now on. Variables whose names are misspelt are printed on
    standard error; a `server` logs them instead (`log_for_server`).
    """
    try:
        settings = Settings()
    except UnicodeError as error:
        say(f"reelgate: .env is not UTF-8: {error}", err=True)
        raise typer.Exit(2) from error
    except OSError as error:
        say(f"reelgate: .env cannot be read: {error}", err=True)
        raise typer.Exit(2) from error
    except ValidationError as error:
        for one in error.errors():
            name = "_".join(str(part) for part in one["loc"]).upper()
            setting = f"{PREFIX}{name}: " if name else ""
            say(f"reelgate: {setting}{one['msg'].removeprefix('Value error, ')}", err=True)
        raise typer.Exit(2) from error
    # As in development and with some pepper, so that no command fails for want of one, or makes one, here.
    given = {"environment": "development", "pepper": settings.pepper or SecretStr("")}
    redactor.remember(settings.model_copy(update=given).secrets())
    if not server:
        for sentence in misspelt(os.environ):
            say(f"reelgate: {sentence}", err=True)
    return settings


def log_for_server(settings: Settings, *, child: bool = False) -> None:
    """Sets up the log of a server, and logs the variables whose names are misspelt.

    A `child` does not log them: it has the environment of a server that has logged them already.
    """
    chosen = settings.log_format or ("console" if settings.development else "json")
    configure_logging(level=settings.log_level, as_json=chosen == "json")
    log_stray_errors()
    for sentence in () if child else misspelt(os.environ):
        _log.warning("A variable is not a setting.", finding=sentence)


def call(operation: Operation[D], *, whole: bool = False, **arguments: Any) -> D:
    """Carries out an operation with these arguments of its function, and returns its document.

    That is on this machine, beside a running server or not, or over the admin API of another one
    (`app.cli.remote`). The document is the same, and so is what a refusal prints. With `whole` its function
    needs a whole gateway, since it asks RunComfy.
    """
    with plain_errors():
        remote = elsewhere()
        if remote is not None:
            return cast("D", remote.call(operation, arguments))
    if whole:
        return with_gateway(lambda gateway: _call_here(gateway, operation, arguments))
    return with_admin(
        lambda gateway: _call_here(gateway, operation, arguments), makes_key=operation.reveals is not None
    )


def call_pages(operation: Operation[D], **arguments: Any) -> list[D]:
    """Returns the document of every page of a list, from the first to the last."""
    pages: list[Any] = []

    def next_after(page: Any) -> str | None:
        pages.append(page)
        cursor: str | None = page["next_cursor"]
        return cursor

    _read_pages(operation, lambda cursor: {**arguments, "cursor": cursor}, next_after)
    return pages


def call_list(
    operation: Operation[Any], member: str, *, at_most: int = sys.maxsize, **arguments: Any
) -> list[Any]:
    """Returns the entries of a list in pages, all of them or the first `at_most`.

    `member` is the member of the list's document that has them.
    """
    found: list[Any] = []

    def page_after(cursor: str | None) -> dict[str, Any]:
        return {**arguments, "cursor": cursor, "limit": min(MAX_PAGE, at_most - len(found))}

    def next_after(page: Mapping[str, Any]) -> str | None:
        found.extend(page[member])
        return page["next_cursor"] if len(found) < at_most else None

    _read_pages(operation, page_after, next_after)
    return found


def call_file(operation: Operation[Any], form: str, **arguments: Any) -> IO[bytes]:
    """Returns an operation's result in one of its other forms, such as `csv`, as a temporary file.

    It is whole: where reading it ends early, nothing of it is returned.
    """
    file = SpooledTemporaryFile(max_size=_MAX_IN_MEMORY)  # noqa: SIM115 - whoever is given it reads it
    with plain_errors():
        remote = elsewhere()
        if remote is not None:
            remote.file(operation, arguments, form, file)
            file.seek(0)
            return file

    async def work(gateway: AdminSession) -> None:
        result = await operation.function(gateway, **arguments)
        async for part in operation.forms[form].write(gateway, result):
            file.write(part)

    with_admin(work)
    file.seek(0)
    return file


def _read_pages(
    operation: Operation[Any],
    page_after: Callable[[str | None], Mapping[str, Any]],
    next_after: Callable[[Any], str | None],
) -> None:
    """Reads pages until one has no cursor of a next one: `page_after` has the arguments of each."""
    with plain_errors():
        remote = elsewhere()
        if remote is not None:
            cursor = next_after(remote.call(operation, page_after(None)))
            while cursor is not None:
                cursor = next_after(remote.call(operation, page_after(cursor)))
            return

    async def work(gateway: AdminSession) -> None:
        cursor = next_after(await _call_here(gateway, operation, page_after(None)))
        while cursor is not None:
            cursor = next_after(await _call_here(gateway, operation, page_after(cursor)))

    with_admin(work)


async def _call_here(gateway: AdminGateway, operation: Operation[D], arguments: Mapping[str, Any]) -> D:
    actor = (of_command(),) if operation.changes else ()
    return operation.document(gateway, await operation.function(gateway, *actor, **arguments))


def refuse_elsewhere() -> None:
    """Ends a command that works on this machine alone, where another one is named."""
    with plain_errors():
        if elsewhere() is not None:
            fail("this command works on the server alone: unset REELGATE_ADMIN_URL and REELGATE_ADMIN_KEY.")


def with_admin(work: Callable[[AdminSession], Awaitable[R]], *, makes_key: bool = False) -> R:
    """Runs a command's work with an `AdminSession`, beside a running server or not; returns its result.

    A command that `makes_key` needs the server's pepper. In the folder of `reelgate dev` that is the one in
    the data folder, and a line on standard error says so.
    """
    refuse_elsewhere()
    given = settings_or_exit()
    settings = given.beside_development() if makes_key else given
    configure_logging(level="ERROR", as_json=False)

    async def run() -> R:
        async with open_admin(settings) as gateway:
            if settings is not given:
                await _check_kept_pepper(gateway)
            return await work(gateway)

    with plain_errors():
        return asyncio.run(run())


def with_gateway(work: "Callable[[Gateway], Awaitable[R]]") -> R:
    """Runs a command's work with a whole gateway, for commands that ask RunComfy; returns its result."""
    from app.gateway import open_gateway  # noqa: PLC0415 - it imports all that a server needs

    refuse_elsewhere()
    settings = settings_or_exit().beside_development()
    configure_logging(level="ERROR", as_json=False)

    async def run() -> R:
        async with open_gateway(settings) as gateway:
            return await work(gateway)

    with plain_errors():
        return asyncio.run(run())


async def _check_kept_pepper(gateway: AdminSession) -> None:
    """Checks that the database's newest key was made with the data folder's pepper, and says that it is used.

    A production server may run in a folder in which `reelgate dev` was tried before. Keys made with the
    pepper of that trial would be refused.

    Raises:
        SettingsError: the newest key was made with another pepper.

    """
    settings = gateway.settings
    newest = await gateway.db.read(newest_pepper_id)
    if newest != pepper_id(settings.current_pepper()):
        raise SettingsError(
            f"{PREFIX}PEPPER is not set, and {settings.kept_pepper} is not the pepper of this database's"
            f" keys: set {PREFIX}PEPPER to the server's pepper."
        )
    say(
        f"reelgate: using {settings.kept_pepper}, as `reelgate dev` does; {PREFIX}PEPPER is not set.",
        err=True,
    )


@contextmanager
def plain_errors() -> Iterator[None]:
    """Ends the command on a known error with a line for each violation and exit code 1, not a stack trace."""
    try:
        yield
    except Problem as problem:
        for one in problem.errors[:-1]:
            say(f"reelgate: {one.detail}", err=True)
        fail(problem.errors[-1].detail if problem.errors else problem.detail)
    except _KNOWN as error:
        fail(str(error))
    except DBAPIError as error:
        fail(f"the database reports an error: {' '.join(str(error.orig).split())}")
    except Exception as error:
        if not (_is_of_catalogue(error) or _is_of_backups(error)):
            raise
        fail(str(error))


def _is_of_catalogue(error: Exception) -> bool:
    """Returns whether the error is a `CatalogError`, which says what is wrong with the model files."""
    from app.catalog.catalog import CatalogError  # noqa: PLC0415 - whoever raised it has imported it

    return isinstance(error, CatalogError)


def _is_of_backups(error: Exception) -> bool:
    """Returns whether the error is a `BackupError`."""
    from app.admin.backups.backup import BackupError  # noqa: PLC0415 - as above

    return isinstance(error, BackupError)


def fail(message: str) -> NoReturn:
    """Prints a message on standard error and ends the command with exit code 1."""
    for line in f"reelgate: {message}".split("\n"):  # wrong model files have a line for each fault
        say(line, err=True)
    raise typer.Exit(1)


def development_by_default() -> None:
    """Sets the environment `development` for this process and its children, unless one is set."""
    if "environment" not in settings_or_exit(server=True).model_fields_set:
        os.environ[f"{PREFIX}ENVIRONMENT"] = "development"


def executable() -> list[str]:
    """Returns the arguments that start `reelgate` again."""
    return [sys.executable, "-m", "app.cli.entry"]
