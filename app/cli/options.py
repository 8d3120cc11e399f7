"""Command line options that several commands share."""

from typing import Annotated

import typer

Reason = Annotated[
    str | None,
    typer.Option("--reason", metavar="TEXT", help="Why, for the audit log; at most 200 characters."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="The key alone, for scripts.")]
Tenant = Annotated[str, typer.Option(help="The tenant's name.")]
OneTenant = Annotated[str | None, typer.Option("--tenant", help="Of this tenant alone.")]
Key = Annotated[str | None, typer.Option(metavar="KID", help="Of this key alone.")]
EndUser = Annotated[
    str | None,
    typer.Option(metavar="LABEL", help="Of this end user of client tokens; '*' is each without an own one."),
]
Model = Annotated[str | None, typer.Option(help="Of this model alone.")]
Test = Annotated[bool, typer.Option("--test", help="Of test keys; they have an account of their own.")]
