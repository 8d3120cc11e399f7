"""The credentials for RunComfy, for the operator: how well each works, and what it has in flight."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from app.admin.session import AdminGateway
from app.auth.keys import Mode
from app.generations import leases
from app.upstream import credentials
from app.upstream.breaker import Health
from app.upstream.capacity import Capacity
from app.upstream.credentials import SANDBOX


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """A credential as servers stored it, as of `now_ms`; never the secret.

    One that is not `configured` has jobs that nobody can follow any more. `concurrency` is how many jobs it
    may have in flight, as the settings say; None is any number. `capacity` is what was learnt of that.
    `next_poll_at_ms` is when the first of its live jobs is due; None where it has none.
    """

    name: str
    mode: Mode
    configured: bool
    weight: int
    concurrency: int | None
    health: Health
    capacity: Capacity | None
    live: int
    next_poll_at_ms: int | None
    now_ms: int


async def listed(gateway: AdminGateway) -> list[CredentialStatus]:
    """Returns every credential that is configured or has live jobs, the sandbox's first."""
    configured = {one.name: one for one in gateway.settings.live_credentials}
    now_ms = gateway.clock.now_ms()
    stored = await gateway.db.read(_stored)
    others = sorted({*configured, *stored.live} - {SANDBOX})
    found = []
    for name in (SANDBOX, *others):
        own = configured.get(name)
        live, next_poll_at_ms = stored.live.get(name, (0, None))
        found.append(
            CredentialStatus(
                name=name,
                mode="test" if name == SANDBOX else "live",
                configured=name == SANDBOX or own is not None,
                weight=1 if own is None else own.weight,
                concurrency=None if own is None else own.concurrency,
                health=stored.health.get(name, Health()),
                capacity=stored.capacities.get(name),
                live=live,
                next_poll_at_ms=next_poll_at_ms,
                now_ms=now_ms,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class _Stored:
    health: Mapping[str, Health]
    capacities: Mapping[str, Capacity]
    live: Mapping[str, tuple[int, int]]


def _stored(connection: Connection) -> _Stored:
    return _Stored(
        credentials.stored(connection),
        credentials.capacities(connection),
        leases.live_by_credential(connection),
    )
