"""Loops tick together within a process, and apart from those of other processes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kit import loop
from app.kit.loop import _to_a_beat


@given(st.integers(1000, 600_000), st.integers(0, 2**41), st.integers(0, 999))
def test_a_pause_ends_on_the_beat_of_its_process_and_is_hardly_another(
    delay_ms: int, now_ms: int, phase_ms: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_PHASE_MS", phase_ms)
        pause_ms = _to_a_beat(delay_ms / 1000, now_ms) * 1000
    assert delay_ms - 1000 < pause_ms + 0.001
    assert 500 <= pause_ms + 0.001 <= delay_ms + 500.002
    assert min(-(now_ms + phase_ms + pause_ms) % 1000, (now_ms + phase_ms + pause_ms) % 1000) < 0.01


def test_a_pause_of_less_than_a_beat_is_as_it_was_asked_for() -> None:
    assert _to_a_beat(0.25, 1_790_000_000_123) == 0.25
