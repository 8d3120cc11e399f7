"""How long Hypothesis looks: `ci` in every run, `dev` where somebody waits for `make quick`.

Neither has a deadline of real time: how busy the machine is says nothing about the code.
"""

from typing import Final

from hypothesis import HealthCheck, settings

_USUAL: Final = {"ci": 100, "dev": 10}


def register() -> None:
    """Make both profiles known, with `ci` in use; `--hypothesis-profile` chooses the other."""
    for name, examples in _USUAL.items():
        settings.register_profile(
            name, max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        )
    settings.load_profile("ci")


def examples(count: int) -> int:
    """As many examples as `ci` takes, or a share of them, for a test that says how many it needs."""
    return max(1, count * _USUAL[settings.get_current_profile_name()] // _USUAL["ci"])
