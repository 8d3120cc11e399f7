"""Command line options that several commands share."""

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
