"""Rate limits on calls other than submits, by key or client token, counted in this replica's memory."""

from app.kit.clock import Clock
from app.quotas.limits import Limit, Scope
from app.quotas.metrics import Metric
from app.quotas.problem import refused
from app.quotas.standing import Rate, Standing, rate_standing

_MAX_REMEMBERED = 10_000


class CallLimiter:
    """Limits the calls of each scope to `per_minute` a minute; 0 is no limit. `metric` names the limit."""

    def __init__(self, clock: Clock, metric: Metric, per_minute: int) -> None:
        self._clock = clock
        self._metric = metric
        self._per_minute = per_minute
        self._tats_us: dict[Scope, int] = {}

    def standing(self, scope: Scope, *, wanted: int = 0) -> Standing | None:
        """Returns the standing of a scope's limit, for `wanted` more calls; None where there is no limit."""
        if not self._per_minute:
            return None
        limit = Limit(scope, self._metric, self._per_minute)
        return rate_standing(limit, self._tats_us.get(scope), self._clock.now_ms(), wanted)

    def check(self, scope: Scope) -> None:
        """Counts one call of a scope.

        Raises:
            Problem: QUOTA_EXCEEDED; the call is not counted.

        """
        standing = self.standing(scope, wanted=1)
        if standing is None:
            return
        problem = refused([standing])
        if problem is not None:
            raise problem
        now_us, tat_us = self._clock.now_ms() * 1000, self._tats_us.get(scope)
        if tat_us is None and len(self._tats_us) >= _MAX_REMEMBERED:
            self._tats_us = {one: tat for one, tat in self._tats_us.items() if tat > now_us}
            if len(self._tats_us) >= _MAX_REMEMBERED:
                self._tats_us.clear()
        self._tats_us[scope] = Rate.of(standing.limit).take(tat_us, now_us)
