"""An event loop whose time a test can move, so that no test has to wait for a real deadline."""

import asyncio


class SkippingLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop; `skip` moves its time."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped_s = 0.0

    def time(self) -> float:
        """Seconds of the machine's monotonic clock, and what was skipped."""
        return super().time() + self._skipped_s

    def skip(self, seconds: float) -> None:
        """Let every timer that is due within these seconds be due now."""
        self._skipped_s += seconds


def skip(seconds: float) -> None:
    """Let every deadline of the running loop pass that lies within these seconds.

    The test first waits for what has to happen before the deadline, so that a slow machine changes nothing.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    loop.skip(seconds)
