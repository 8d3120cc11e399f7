"""How fast bytes of files pass through a server, so that calls beside them are answered as ever."""

import asyncio
import math
from typing import Final

_NOTICEABLE_S: Final = 0.001
"""What is not waited for yet, but together with the next bytes: timers of the event loop are no finer."""


class Throughput:
    """Lets `bytes_per_s` pass, of all files together: whoever moves bytes rests for those of everybody."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    async def rest(self, passed: int) -> None:
        """Waits until more may follow, after so many bytes of a file have passed."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now) + passed / self._bytes_per_s
        if (wait_s := self._free_at - now) > _NOTICEABLE_S:
            await asyncio.sleep(wait_s)


UNLIMITED: Final = Throughput(math.inf)
