"""Command line options that several commands share."""

from datetime import UTC, datetime
from typing import Annotated

import typer

Reason = Annotated[
    str | None,
    typer.Option("--reason", metavar="TEXT", help="The reason, for the audit log; at most 200 characters."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the key, for scripts.")]
Tenant = Annotated[str, typer.Option(help="The tenant's name.")]
OneTenant = Annotated[str | None, typer.Option("--tenant", help="Only this tenant.")]
Key = Annotated[str | None, typer.Option(metavar="KID", help="Only this API key.")]
EndUser = Annotated[
    str | None,
    typer.Option(
        metavar="LABEL",
        help="Only this end user of client tokens; '*': every end user without a limit of their own.",
    ),
]
Model = Annotated[str | None, typer.Option(help="Only this model.")]
Test = Annotated[
    bool, typer.Option("--test", help="The account of the tenant's test keys, not of its live keys.")
]
_MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
Since = Annotated[
    datetime | None, typer.Option("--from", formats=_MOMENTS, help="From this moment (UTC) on.")
]
Until = Annotated[datetime | None, typer.Option("--to", formats=_MOMENTS, help="Before this moment (UTC).")]


def moment(given: datetime | None) -> datetime | None:
    """Returns a moment that was given as an option, which is in UTC."""
    return None if given is None else given.replace(tzinfo=UTC)
