"""Runs tests in several processes that are forked once all tests are collected.

So imports and collection, which take five seconds of processor, are done once and not by each process. A
process takes the next few tests whenever it is through with what it has, in the order of their collection:
tests of one file mostly share its fixtures. `--forks 0` runs all tests in pytest's own process.
"""

import atexit
import gc
import json
import multiprocessing
import os
import select
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import pytest

_SHARES: Final = 3  # of what is left, a process takes that part of its share


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--forks", type=int, default=0, help="how many processes run the tests (0: pytest's own)"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Have forked processes run the tests, and report here what they tell."""
    config = session.config
    count = min(config.getoption("forks"), len(session.items))
    if count == 0 or config.option.collectonly or session.testsfailed:
        return None
    if (terminal := config.pluginmanager.getplugin("terminalreporter")) is not None:
        terminal.showfspath = False  # tests of several files run side by side
    config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # one for all
    gc.collect()
    gc.freeze()
    taken = multiprocessing.get_context("fork").Value("q", 0)
    workers = [_start(session, number, count, taken) for number in range(count)]
    try:
        _listen(session, workers)
    finally:
        for worker in workers:
            worker.end()
    return True


@dataclass
class _Worker:
    """A forked process, and the pipe on which it tells how its tests went."""

    pid: int
    pipe: int
    said: bytes = b""
    """The beginning of a line."""
    runs: str = "its end"
    """The test that it is at."""
    broken: str = ""
    """The traceback of an error that is no test's."""
    is_through: bool = False

    def lines(self) -> list[bytes] | None:
        """What it tells now, a test a line; None when it will tell no more."""
        data = os.read(self.pipe, 1 << 20)
        *lines, self.said = (self.said + data).split(b"\n")
        return lines if data else None

    def end(self) -> None:
        os.close(self.pipe)
        if not self.is_through:
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def _start(session: pytest.Session, number: int, count: int, taken: Any) -> _Worker:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _work(session, number, count, taken, _Teller(session.config, writer))
    os.close(writer)
    return _Worker(pid, reader)


def _listen(session: pytest.Session, workers: list[_Worker]) -> None:
    """Report what the processes tell, until all are through."""
    at_work = {worker.pipe: worker for worker in workers}
    while at_work:
        for pipe in select.select(list(at_work), [], [])[0]:
            worker = at_work[pipe]
            lines = worker.lines()
            for line in lines or ():
                _report(session.config, worker, json.loads(line))
            if lines is None:
                del at_work[pipe]
                if not worker.is_through:
                    session.shouldfail = f"a process of the tests ended at {worker.runs}\n{worker.broken}"
            if session.shouldfail:
                raise session.Failed(session.shouldfail)


def _report(config: pytest.Config, worker: _Worker, told: dict[str, Any]) -> None:
    if "runs" in told:
        worker.runs = told["runs"]
        return
    worker.broken = told.get("broken", "")
    worker.is_through = told.get("is_through", False)
    for data in told.get("reports", ()):
        report = config.hook.pytest_report_from_serializable(config=config, data=data)
        if isinstance(report.longrepr, list):
            report.longrepr = tuple(report.longrepr)  # the reason of a skip, which JSON made a list
        config.hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            config.hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)


class _Teller:
    """Keeps the reports of a test, to tell them together."""

    def __init__(self, config: pytest.Config, pipe: int) -> None:
        self._config, self._pipe = config, open(pipe, "wb")  # noqa: SIM115 - until the process ends
        self._reports: list[dict[str, Any]] = []

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.tell(runs=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._reports.append(data)

    def pytest_runtest_logfinish(self) -> None:
        reports, self._reports = self._reports, []
        self.tell(reports=reports)

    def tell(self, **told: Any) -> None:
        self._pipe.write(json.dumps(told, default=str).encode() + b"\n")
        self._pipe.flush()


def _work(session: pytest.Session, number: int, count: int, taken: Any, teller: _Teller) -> NoReturn:
    """Be a process that runs tests, from here to its end."""
    try:
        _settle(session.config, number)
        session.config.pluginmanager.register(teller)
        places = _places(len(session.items), count, taken)
        place = next(places, None)
        while place is not None:
            following = None if session.shouldfail else next(places, None)
            item = session.items[place]
            nextitem = session.items[following] if following is not None else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            place = following
        atexit._run_exitfuncs()
        teller.tell(is_through=True)
    except BaseException:  # noqa: BLE001 - nothing may go on in the parent's name
        teller.tell(broken=traceback.format_exc())
    finally:
        os._exit(0)


def _settle(config: pytest.Config, number: int) -> None:
    """Share no folder, no captured output and no terminal with the other processes."""
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = factory.getbasetemp() / f"process-{number}"
    factory._basetemp.mkdir()
    capture = config.pluginmanager.getplugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    config.pluginmanager.unregister(name="terminalreporter")


def _places(total: int, count: int, taken: Any) -> Iterator[int]:
    """The tests that this process is to run, by their places; fewer at a time towards the end."""
    while True:
        with taken:
            start = taken.value
            size = max(1, (total - start) // (count * _SHARES))
            taken.value = start + size
        if start >= total:
            return
        yield from range(start, min(start + size, total))
