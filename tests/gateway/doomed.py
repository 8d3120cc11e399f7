"""Stories in processes that a SIGKILL ends: forks of one that has imported everything once."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from app.kit.log import configure_logging
from tests.gateway.campaign import Theatre
from tests.gateway.events import Events, kill
from tests.gateway.story import Story
from tests.patience import PATIENCE_S
from tests.processes import bare_environment

FAILED = 70  # the exit code of a story that raised


@dataclass
class Doomed:
    """Tells stories that do not survive."""

    launcher: "subprocess.Popen[str]"

    def play(self, theatre: Theatre, stories: Iterable[Story]) -> None:
        """Tell each story in a process of its own, which dies at the story's event."""
        for story in stories:
            chosen = {"path": str(story.path), "jobs": story.jobs, "at": story.at, "now_ms": story.now_ms}
            code, why = self._order({"theatre": vars(theatre), "story": chosen})
            story.read()
            assert code == (-signal.SIGKILL if story.fault else 0), (code, why, story.events)

    def _order(self, order: dict[str, Any]) -> tuple[int, str]:
        assert self.launcher.stdin is not None
        assert self.launcher.stdout is not None
        self.launcher.stdin.write(json.dumps(order) + "\n")
        self.launcher.stdin.flush()
        code, why = json.loads(self.launcher.stdout.readline())
        return code, why


@contextmanager
def doomed() -> Iterator[Doomed]:
    with subprocess.Popen(
        [sys.executable, "-c", "from tests.gateway.doomed import take_orders; take_orders()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=bare_environment(),
        cwd=Path(__file__).parents[2],
    ) as launcher:
        yield Doomed(launcher)
        launcher.communicate(timeout=PATIENCE_S)


def take_orders() -> None:
    """The launcher's whole life: an order a line, a fork for each; its exit code and why are the answer."""
    configure_logging(level="CRITICAL", as_json=False)
    for line in sys.stdin:
        order = json.loads(line)
        chosen = order["story"]
        story = Story(Path(chosen["path"]), tuple(chosen["jobs"]), chosen["at"], now_ms=chosen["now_ms"])
        play = partial(_play, Theatre(**order["theatre"]), story)
        if story.at is None:  # nobody dies, and what this warms is inherited
            code, why = _here(play)
            gc.freeze()  # what no fork touches, no fork copies
        else:
            code, why = _in_a_fork(play), ""
        print(json.dumps([code, why]), flush=True)  # noqa: T201 - the answer


def _here(play: "partial[None]") -> tuple[int, str]:
    try:
        play()
    except Exception:  # noqa: BLE001 - whatever went wrong, the next order is another test's
        return FAILED, traceback.format_exc()
    return 0, ""


def _in_a_fork(play: "partial[None]") -> int:
    pid = os.fork()
    if pid == 0:
        code = FAILED
        try:
            play()
            code = 0
        except BaseException:  # noqa: BLE001 - this process ends here, whatever it was
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _play(theatre: Theatre, story: Story) -> None:
    def die(events: Events) -> None:
        story.note(events=events.met)
        kill(events)

    asyncio.run(theatre.play([story], die))
