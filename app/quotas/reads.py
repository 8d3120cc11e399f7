"""The limit on everything but submits: generous, by key, in this server's memory. It guards no money."""

from app.kit.clock import Clock
from app.quotas.limits import Limit, Metric, Rate, Scope, Standing, rate_standing
from app.quotas.refusal import refused

_MOST_REMEMBERED = 10_000


class ReadLimiter:
    """At most `per_minute` calls a minute and key; 0 is no limit."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._tats_us: dict[str, int] = {}

    def standing(self, kid: str, *, wanted: int = 0) -> Standing | None:
        """The limit of a key as it stands; None where there is none."""
        if not self._per_minute:
            return None
        limit = Limit(Scope(kid), Metric.READS_MINUTE, self._per_minute)
        return rate_standing(limit, self._tats_us.get(kid), self._clock.now_ms(), wanted)

    def check(self, kid: str) -> None:
        """Count one call.

        Raises:
            Problem: QUOTA_EXCEEDED, and it is not counted.

        """
        standing = self.standing(kid, wanted=1)
        if standing is None:
            return
        problem = refused([standing])
        if problem is not None:
            raise problem
        now_us, tat_us = self._clock.now_ms() * 1000, self._tats_us.get(kid)
        if tat_us is None and len(self._tats_us) >= _MOST_REMEMBERED:
            self._tats_us = {kid: tat for kid, tat in self._tats_us.items() if tat > now_us}
            if len(self._tats_us) >= _MOST_REMEMBERED:
                self._tats_us.clear()
        self._tats_us[kid] = Rate.of(standing.limit).take(tat_us, now_us)
