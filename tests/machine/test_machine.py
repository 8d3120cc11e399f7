"""Any history of submits, looks, cancels, crashes, clocks and money: never two jobs, and always right books.

A machine of Hypothesis's drives real gateways over a real database and compares every answer and every row
with a simple model. REELGATE_TEST_EXAMPLES makes it drive for longer, and each time differently.
"""

import asyncio
import itertools
import os
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from structlog.testing import capture_logs

from app.quotas.balances.ledger import Kind
from tests.machine.acts import Driver
from tests.machine.draws import a_limit, acts, some_options
from tests.machine.model import Limit, Options
from tests.machine.surroundings import open_place

EXAMPLES = int(os.environ.get("REELGATE_TEST_EXAMPLES", "0"))  # read before the tests forget the environment


class Machine(RuleBasedStateMachine):
    """The rules draw; what they do and must find is the driver's."""

    def __init__(self, database_url: str, folder: Path) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.failed = False
        self.database_url, self.folder = database_url, folder

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        self.failed = True
        result = self.runner.get_loop().run_until_complete(work)
        self.failed = False
        return result

    @initialize(options=some_options, limits=st.lists(a_limit, max_size=3))
    def open(self, options: Options, limits: list[dict[str, Any]]) -> None:
        async def opened() -> Driver:
            place = await self.stack.enter_async_context(open_place(self.database_url, self.folder))
            driver = Driver(place)
            driver.model.lines = [await place.key_line(mode) for mode in ("test", "test", "live")]
            await driver.restart(place.servers[0], options, crash=False)
            return driver

        self.driver: Driver = self.do(opened())
        for limit in limits:
            self._set_limit(**limit)

    @property
    def hanging(self) -> list[tuple[Any, str]]:
        return [(server, mark) for server in self.driver.place.servers for mark in server.hanging]

    @rule(act=acts)
    def act(self, act: tuple[str, dict[str, Any]]) -> None:
        name, drawn = act
        getattr(self, f"_{name}")(**drawn)

    def _submit(self, at: int, line: int, kind: str, *, outcome: str, keyed: bool) -> None:
        one = self.driver
        self.do(one.submit(one.server(at), one.line(line), one.intent(kind, keyed=keyed), outcome))

    def _submit_again(self, at: int, line: int, earlier: int, **how: Any) -> None:
        one = self.driver
        if not one.wishes:
            return
        intent = one.wishes[-1 - earlier % len(one.wishes)]
        if how["other"] is not None:
            intent = one.intent(how["other"], keyed=False)._replace(idempotency_key=intent.idempotency_key)
        self.do(one.submit(one.server(at), one.line(line), intent, how["outcome"], age=how["age"]))

    def _submit_at_once(self, line: int, kind: str, count: int, **how: Any) -> None:
        """Perhaps into room for fewer than come."""
        one, key_line = self.driver, self.driver.line(line)
        limit = Limit(key_line.mode, "", "", "generations-total")
        is_tight = how["room"] is not None and limit not in one.model.limits
        if is_tight:
            taken = sum(job.counts for job in one.model.jobs if job.line.mode == key_line.mode)
            self.do(one.set_limit(limit, taken + how["room"], None))
        self.do(one.storm(key_line, kind, count, how["copies"]))
        if is_tight:
            self.do(one.unset_limit(limit))

    def _press(self, at: int, line: int, kind: str, relief: str | int) -> None:
        """Use a limit up, perhaps make room, and try again."""
        one = self.driver
        self.do(one.press(one.server(at), one.line(line), kind))
        if relief == "limits":
            self._unset_limits(0, every=True)
        elif relief == "payment":
            self._pay(line, 1_000_000, None, own=False)
        elif relief == "end":
            for number in range(1, 4):
                one.progress(number, "failed")
                self._look(at, number, "status")
        else:
            self._let_time_pass(relief)
        self.do(one.submit(one.server(at), one.line(line), one.intent(kind, keyed=True), "accept"))

    def _hang(self, at: int, line: int, kind: str) -> None:
        one = self.driver
        server, key_line, intent = one.server(at), one.line(line), one.intent(kind, keyed=True)
        if one.can_hang(server, key_line, intent):
            self.do(one.hang(server, key_line, intent))

    def _answer(self, at: int, action: str) -> None:
        if self.hanging:
            server, mark = self.hanging[at % len(self.hanging)]
            self.do(self.driver.let_go(server, mark, action))

    def _ask(self, at: int, line: int, kind: str, *, valid: bool) -> None:
        one = self.driver
        if valid:
            self.do(one.quote(one.server(at), one.line(line), one.intent(kind, keyed=False)))
        else:
            self.do(one.invalid(one.server(at), one.line(line)))

    def _look(self, at: int, job: int, what: str) -> None:
        if self.driver.model.jobs:
            self.do(self.driver.look(self.driver.server(at), self.driver.job(job), what))

    def _cancel(self, at: int, job: int, *, too_late: bool) -> None:
        if self.driver.model.jobs:
            self.do(self.driver.cancel(self.driver.server(at), self.driver.job(job), too_late=too_late))

    def _look_at_once(self, job: int, *, cancelling: bool) -> None:
        if self.driver.model.jobs:
            self.do(self.driver.crowd(self.driver.job(job), cancelling=cancelling))

    def _progress(self, job: int, to: str) -> None:
        self.driver.progress(job, to)

    def _resolve(self, at: int, job: int, found: int, how: str) -> None:
        """What is of unknown fate, mostly; of what is known, nothing can be said."""
        one = self.driver
        jobs = one.of_unknown_fate if one.of_unknown_fate and job else one.model.jobs
        if not jobs:
            return
        chosen = jobs[job % len(jobs)]
        made = one.upstream_job(found) if how == "attach another" else one.place.upstream.job_of(chosen.mark)
        if made is not None and how.startswith("attach"):
            self.do(one.attach(one.server(at), chosen, made))
        else:
            self.do(one.close(one.server(at), chosen, charged=how == "charged"))

    def _change_servers(self, at: int, how: str, options: Options) -> None:
        one, count = self.driver, len(self.driver.place.servers)
        if how == "join" and count == 1 and self.database_url.startswith("postgresql"):
            # Alike, mostly: then a storm goes through both.
            self.do(one.place.start(options if not at else one.place.servers[0].options))
        elif how == "leave" and count > 1:
            self.do(one.end(one.server(at), crash=options.settle_on == "success"))
        else:
            self.do(one.restart(one.server(at), options, crash=how == "crash"))

    def _crash_before_the_record(self, at: int, line: int, kind: str, options: Options) -> None:
        one = self.driver
        server, key_line, intent = one.server(at), one.line(line), one.intent(kind, keyed=True)
        if one.can_hang(server, key_line, intent):
            self.do(one.cut_before_the_record(server, key_line, intent, options))

    def _let_time_pass(self, step: int | str) -> None:
        one = self.driver
        self.do(one.step(step) if isinstance(step, int) else one.step_to_the_next(step))

    def _rotate(self, line: int, overlap_s: int) -> None:
        self.do(self.driver.place.rotate(self.driver.line(line), overlap_s))

    def _move(self, zone: str) -> None:
        self.do(self.driver.move_to(zone))

    def _set_limit(self, line: int, model: str, *, of_key: bool, **drawn: Any) -> None:
        key_line, (metric, most) = self.driver.line(line), drawn["amount"]
        limit = Limit(key_line.mode, key_line.root if of_key else "", model, metric)
        self.do(self.driver.set_limit(limit, most, drawn["burst"] if metric == "submits-minute" else None))

    def _unset_limits(self, at: int, *, every: bool) -> None:
        limits = list(self.driver.model.limits)
        for limit in limits if every else limits[at : at + 1]:
            self.do(self.driver.unset_limit(limit))

    def _pay(self, line: int, amount: int, reference: str | None, *, own: bool) -> None:
        kind = Kind.TOP_UP if amount > 0 else Kind.ADJUSTMENT
        self.do(self.driver.pay(self.driver.line(line), kind, amount, reference, own=own))

    # What must be true.

    @invariant()
    def books_and_rows_are_right(self) -> None:
        self.do(self.driver.check())

    def teardown(self) -> None:
        try:
            if not self.failed:
                for server, mark in self.hanging:
                    self.do(self.driver.let_go(server, mark, "accept"))
                self.do(self.driver.check_histories())
                self.do(self.driver.check(thoroughly=True))
        finally:
            self.do(self.stack.aclose())
            self.runner.close()


def test_any_history_makes_one_job_of_a_submit_and_leaves_right_books(
    database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    numbers = itertools.count()

    def machine() -> Machine:
        lines.clear()
        folder, url = tmp_path / f"example-{next(numbers)}", database_url
        folder.mkdir()
        if url.startswith("sqlite"):
            path = folder / "reelgate.db"
            path.write_bytes(request.getfixturevalue("sqlite_template").read_bytes())
            url = f"sqlite:///{path}"
        return Machine(url, folder)

    with capture_logs() as lines:  # printing them takes longer than the rest
        run_state_machine_as_test(
            cast("type[Machine]", machine),
            settings=settings(
                max_examples=EXAMPLES or 15,
                stateful_step_count=80 if EXAMPLES else 45,
                derandomize=not EXAMPLES,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
