"""Rate limits on calls other than submits, by key or client token, counted in this replica's memory."""

from functools import lru_cache

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

    def allows(self, scope: Scope) -> bool:
        """Returns whether `check` would count a call of this scope now."""
        rate = _rate_of(self._metric, self._per_minute)
        return rate is None or not rate.wait_us(self._tats_us.get(scope), self._clock.now_ms() * 1000)

    def check(self, scope: Scope) -> None:
        """Counts one call of a scope.

        Raises:
            Problem: QUOTA_EXCEEDED; the call is not counted.

        """
        rate = _rate_of(self._metric, self._per_minute)
        if rate is None:
            return
        now_us, tat_us = self._clock.now_ms() * 1000, self._tats_us.get(scope)
        if rate.wait_us(tat_us, now_us):
            standing = self.standing(scope, wanted=1)
            if standing is not None and (problem := refused([standing])) is not None:
                raise problem
        if tat_us is None and len(self._tats_us) >= _MAX_REMEMBERED:
            self._tats_us = {one: tat for one, tat in self._tats_us.items() if tat > now_us}
            if len(self._tats_us) >= _MAX_REMEMBERED:
                self._tats_us.clear()
        self._tats_us[scope] = rate.take(tat_us, now_us)


@lru_cache(maxsize=8)
def _rate_of(metric: Metric, per_minute: int) -> Rate | None:
    return Rate.of(Limit(Scope(), metric, per_minute)) if per_minute else None
