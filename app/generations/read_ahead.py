"""What the submits and outcomes of one transaction need, read for all of them at once, before the first.

They are the same statements however many tenants there are. What is read is kept
(`app.db.statements.deferral`) under the locks of the tenants' rows, where each function finds it; what is
not there it reads for itself.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from app.db.statements.deferral import Ahead
from app.db.tenant_locks import LockedTenant
from app.generations import events
from app.generations.queue import decide
from app.generations.queue.decide import SubmitPolicy
from app.generations.store import SubmitIntent
from app.quotas import account
from app.quotas.account import Owner, Wanted


def of_submit(intent: SubmitIntent, policy: SubmitPolicy, *, now_ms: int) -> Ahead:
    """Returns what a submit needs: its tenant's account and gate, and the number of its last event."""
    owner = Owner(intent.tenant_id, intent.mode)
    wanted = Wanted(owner, intent.payer, intent.model_id, policy.default_limits, now_ms)
    return Ahead(intent.tenant_id, _read, wanted)


def of_outcome(tenant_id: str) -> Ahead:
    """Returns what an outcome needs: the number of its tenant's last event."""
    return Ahead(tenant_id, _read)


def _read(connection: Connection, locked: Mapping[str, LockedTenant], needs: Sequence[Wanted | None]) -> None:
    events.keep_numbers(connection, locked.values())
    wanted = [one for one in needs if one is not None]
    account.keep_accounts(connection, wanted, locked)
    decide.keep_gates(connection, sorted({one.owner.mode for one in wanted}), locked.values())
