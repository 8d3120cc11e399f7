"""How long a test waits in real time for what must happen."""

from typing import Final

PATIENCE_S: Final = 120.0
"""Real time that only a hung test ever sees; at a load of ten, two cores take 30 s to start three servers."""
