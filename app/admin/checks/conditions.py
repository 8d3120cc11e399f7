"""What the operator is told of without asking: conditions of the gateway, raised and cleared.

Each server examines what it sees: its credentials and polls, its disk, and the rows that all share. Whether
the ledger and the audit log are right is examined by whoever verifies them.
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection

from app.admin.checks.database_checks import MIN_FREE
from app.admin.session import AdminGateway
from app.generations import store
from app.generations.queue import backlog
from app.kit.log import Aside, get_logger
from app.upstream.credentials import Pool
from app.webhooks.messages import conditions
from app.webhooks.messages.conditions import Condition

_log = get_logger("conditions")
_UNKNOWN_MS: Final = 15 * 60_000
_POLL_LAG_MS: Final = 60_000
_BACKLOG_MS: Final = 10 * 60_000
_REFUSED: Final = ("http_401", "http_402", "http_403", "code_")


class Name(StrEnum):
    """The name of a condition."""

    UNKNOWN_JOBS = "unknown_jobs"
    CREDENTIAL_REFUSED = "credential_refused"
    BREAKER_OPEN = "breaker_open"
    POLL_LAG = "poll_lag"
    DISPATCH_BACKLOG = "dispatch_backlog"
    LEDGER_VERIFY_FAILED = "ledger_verify_failed"
    AUDIT_VERIFY_FAILED = "audit_verify_failed"
    DISK_SPACE = "disk_space"


_BY_VERIFYING: Final = frozenset({Name.LEDGER_VERIFY_FAILED, Name.AUDIT_VERIFY_FAILED})
_BY_EXAMINING: Final = frozenset(Name) - _BY_VERIFYING


@dataclass(frozen=True, slots=True, kw_only=True)
class Examiner:
    """Examines the conditions that a server sees. `lags_ms` says how late the polls by a credential are."""

    gateway: AdminGateway
    pool: Pool
    lags_ms: Callable[[], Mapping[str, int]]

    async def run_once(self) -> int:
        """Examines every condition; returns how many changed."""
        now_ms = self.gateway.clock.now_ms()
        seen = [
            *self._of_credentials(now_ms),
            *self._of_disk(),
            *await self.gateway.db.read(_of_rows, now_ms),
        ]
        return await _observe(self.gateway, seen, _BY_EXAMINING)

    def _of_credentials(self, now_ms: int) -> Iterator[Condition]:
        lags_ms = self.lags_ms()
        for name, one in self.pool.all.items():
            health = one.health
            if not health.may_submit:
                refused = health.reason.startswith(_REFUSED)
                yield Condition(
                    name=Name.CREDENTIAL_REFUSED if refused else Name.BREAKER_OPEN,
                    subject=name,
                    details={"reason": health.reason, "tried_again_in_s": health.retry_after_s(now_ms)},
                )
            lag_ms = lags_ms.get(name, 0)
            if lag_ms >= _POLL_LAG_MS:
                yield Condition(name=Name.POLL_LAG, subject=name, details={"lag_s": lag_ms // 1000})

    def _of_disk(self) -> Iterator[Condition]:
        folder = self.gateway.settings.data_dir
        if folder.exists() and (free := shutil.disk_usage(folder).free) < MIN_FREE:
            yield Condition(name=Name.DISK_SPACE, details={"free_bytes": free})


def _of_rows(connection: Connection, now_ms: int) -> list[Condition]:
    found = []
    for mode, (count, first_ms) in store.unknown_by_mode(connection).items():
        if now_ms - first_ms >= _UNKNOWN_MS:
            details = {"count": count, "oldest_s": (now_ms - first_ms) // 1000}
            found.append(Condition(name=Name.UNKNOWN_JOBS, subject=mode, details=details))
    by_mode: dict[str, list[int]] = {}
    for one in backlog.backlogs(connection):
        if one.oldest_at_ms is not None and not one.stopped:
            by_mode.setdefault(one.mode, []).append(now_ms - one.oldest_at_ms)
    for of_mode, ages_ms in by_mode.items():
        if max(ages_ms) >= _BACKLOG_MS:
            details = {"tenants": len(ages_ms), "oldest_s": max(ages_ms) // 1000}
            found.append(Condition(name=Name.DISPATCH_BACKLOG, subject=of_mode, details=details))
    return found


async def tell_verified(gateway: AdminGateway, name: Name, findings: int) -> None:
    """Raises the condition that the ledger or the audit log is wrong, or clears it; tells the operator.

    That cannot fail: the report of whoever verified matters more.
    """
    with Aside("telling what was verified"):
        seen = [Condition(name=name, details={"findings": findings})] if findings else []
        await _observe(gateway, seen, (name,), calm_ms=0)


async def _observe(
    gateway: AdminGateway,
    seen: Sequence[Condition],
    examined: Collection[str],
    *,
    calm_ms: int = conditions.CALM_MS,
) -> int:
    raised = await gateway.db.read(conditions.raised)
    if not seen and not any(name in examined for name, _, _ in raised):
        return 0
    changes = await gateway.db.write(
        conditions.observe,
        seen,
        examined=examined,
        tells=gateway.settings.operator_webhook_url is not None,
        now_ms=gateway.clock.now_ms(),
        calm_ms=calm_ms,
    )
    for one in changes:
        line = "A condition was raised." if one.is_raised else "A condition was cleared."
        tell = _log.error if one.is_raised else _log.info
        tell(line, condition=one.name, subject=one.subject or None, **one.details)
    return len(changes)
