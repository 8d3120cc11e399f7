"""Which tests take long: writes `costly.txt`, which `make quick` leaves to the longer runs.

    make costs

runs the tests of `make quick` once, one after the other, and measures each by this process's processor
time. The functions whose tests take longest on average are costly, as many as take eight tenths of the time
together: a share, so that how fast or how busy the machine is does not matter.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Final

import pytest

COSTLY: Final = Path(__file__).parent / "costly.txt"
_SHARE: Final = 0.8
_QUICK: Final = "not (postgresql or process or browser or campaign or deep)"


class Costs:
    """A plugin of pytest that adds up what each test function takes."""

    def __init__(self) -> None:
        self.taken: defaultdict[str, list[float]] = defaultdict(list)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        began = time.process_time()
        try:
            return (yield)
        finally:
            self.taken[function(item.nodeid)].append(time.process_time() - began)

    def costly(self) -> list[str]:
        """The ids of the functions that take long."""
        left_s = _SHARE * sum(sum(each) for each in self.taken.values())
        found = []
        for one, each in sorted(self.taken.items(), key=lambda taken: -fmean(taken[1])):
            if left_s <= 0:
                break
            left_s -= sum(each)
            found.append(one)
        return sorted(found)


def function(nodeid: str) -> str:
    """A test's id without its parameters and the folder that all tests are in."""
    return nodeid.partition("[")[0].removeprefix("tests/")


def known() -> frozenset[str]:
    """What was costly when it was last measured."""
    return frozenset(COSTLY.read_text("utf-8").split())


def main() -> int:
    costs = Costs()
    chosen = ["-q", "-p", "no:schemathesis", "-p", "no:xdist", "--hypothesis-profile=dev", "-m", _QUICK]
    failed = pytest.main(chosen, plugins=[costs])
    if failed in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:  # one that fails takes its time too
        COSTLY.write_text("".join(f"{one}\n" for one in costs.costly()), "utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
