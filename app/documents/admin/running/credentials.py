"""The credentials for RunComfy, as operators read them; never their secrets."""

from typing import Annotated, TypedDict

from app.auth.keys import Mode
from app.documents.fields import Moment
from app.documents.schema import keywords
from app.upstream.breaker import Condition


class Credential(TypedDict):
    """A credential for RunComfy, without the secret."""

    name: str
    mode: Mode
    configured: Annotated[bool, keywords("False: it was removed, and nobody can follow its live jobs.")]
    condition: Annotated[
        Condition,
        keywords(
            "`closed`: in use. `open`: paused. `half_open`: the pause is over, and a poll is to try it."
        ),
    ]
    reason: Annotated[str | None, keywords("Why it is paused.")]
    paused_until: Moment | None
    weight: Annotated[int, keywords("Its share of the submits, beside those of the others of its mode.")]
    concurrency: Annotated[int | None, keywords("How many jobs it may have in flight; null: any number.")]
    learnt_concurrency: Annotated[
        int | None,
        keywords("The same as RunComfy's refusals taught it; null: it never refused, or long ago."),
    ]
    live: Annotated[int, keywords("How many of its jobs are live.")]
    next_poll_at: Annotated[Moment | None, keywords("When the first of its live jobs is to be polled.")]


class Credentials(TypedDict):
    """Every credential, the sandbox's first."""

    credentials: list[Credential]
