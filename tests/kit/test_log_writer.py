"""The writer of the log: nothing waits for its sink, what is lost is counted, and nothing else is lost."""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue

import pytest

from app.kit import log_writer
from app.kit.log_writer import LogWriter

PATIENCE_S = 20.0  # only a hung test ever sees it


def gap_line(count: int, why: str) -> bytes:
    return f"{count} dropped: {why}\n".encode()


class Sink:
    """Takes what it is told to; while it is `stalled`, a test lets its calls through."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.errors: list[OSError] = []
        self.most = 1 << 30
        self.stalled = False
        self._permits: SimpleQueue[None] = SimpleQueue()
        self._came: SimpleQueue[None] = SimpleQueue()

    def __call__(self, part: memoryview) -> int:
        if self.stalled:
            self._came.put(None)
            self._permits.get()
        if self.errors:
            raise self.errors.pop(0)
        taken = bytes(part[: self.most])
        self.calls.append(taken)
        return len(taken)

    def until_called(self) -> None:
        self._came.get(timeout=PATIENCE_S)

    def go_on(self) -> None:
        self.stalled = False
        self._permits.put(None)

    @property
    def text(self) -> bytes:
        return b"".join(self.calls)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "_RETRY_S", 0.001)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe of the least size, the reader's first."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    for one in (reader, writer):
        with suppress(OSError):
            os.close(one)


def test_every_line_is_written_whole_and_in_order_however_little_the_sink_takes() -> None:
    sink = Sink()
    sink.most = 7
    writer = LogWriter(sink, gap_line)
    lines = [b"line %d\n" % number for number in range(500)]
    for line in lines:
        writer.write(line)
    assert writer.flush(PATIENCE_S)
    assert sink.text == b"".join(lines)
    assert (writer.dropped, writer.buffered_bytes) == (0, 0)


def test_lines_that_come_during_a_write_are_written_with_one_call() -> None:
    sink = Sink()
    sink.stalled = True
    writer = LogWriter(sink, gap_line)
    writer.write(b"first\n")
    sink.until_called()
    for number in range(1000):
        writer.write(b"%d\n" % number)
    sink.go_on()
    assert writer.flush(PATIENCE_S)
    assert [call.count(b"\n") for call in sink.calls] == [1, 1000]


def test_a_sink_that_stalls_holds_up_nobody_and_the_log_says_what_is_missing_where_it_is_missing() -> None:
    sink = Sink()
    sink.stalled = True
    writer = LogWriter(sink, gap_line, buffer_bytes=10)
    writer.write(b"a\n")
    sink.until_called()
    for line in (b"b\n", b"c\n", b"d\n", b"e\n", b"lost\n", b"lost\n"):
        writer.write(line)
    assert (writer.dropped, writer.buffered_bytes) == (2, 10)
    sink.go_on()
    assert writer.flush(PATIENCE_S)
    writer.write(b"f\n")
    assert writer.flush(PATIENCE_S)
    assert sink.text == b"a\nb\nc\nd\ne\n2 dropped: its reader is too slow\nf\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF])
def test_an_error_of_the_sink_delays_the_lines_and_loses_none_that_the_buffer_holds(number: int) -> None:
    sink = Sink()
    sink.stalled = True
    writer = LogWriter(sink, gap_line, buffer_bytes=4)
    writer.write(b"a\n")
    sink.until_called()
    sink.errors = [OSError(number, "broken on purpose")] * 3
    writer.write(b"b\n")
    sink.go_on()
    assert writer.flush(PATIENCE_S)
    assert (sink.text, writer.dropped) == (b"a\nb\n", 0)


def test_the_log_says_why_lines_are_missing() -> None:
    sink = Sink()
    sink.errors = [OSError(errno.ENOSPC, "no space")] * 1_000_000
    writer = LogWriter(sink, gap_line, buffer_bytes=2)
    writer.write(b"a\n")
    until(lambda: len(sink.errors) < 1_000_000)
    writer.write(b"lost\n")
    sink.errors = []
    assert writer.flush(PATIENCE_S)
    assert sink.text == b"a\n1 dropped: ENOSPC\n"


def test_a_pipe_that_nobody_reads_holds_up_nobody_whether_it_blocks_or_not(pipe: tuple[int, int]) -> None:
    reader, descriptor = pipe
    for is_blocking in (True, False):
        os.set_blocking(descriptor, is_blocking)
        writer = LogWriter.to_descriptor(descriptor, gap_line, buffer_bytes=100_000)
        for number in range(20_000):
            writer.write(b"%09d\n" % number)
        assert 9_000 < writer.dropped <= 10_000  # beside the buffer, the pipe itself takes some
        writer.close(timeout_s=0.01)  # it ends in time, although nobody reads
        text, missing = b"", 0
        written: list[int] = []
        while len(written) + missing < 20_000:
            text += os.read(reader, 65_536)
            lines = text[: text.rfind(b"\n") + 1].splitlines()
            written = [int(line) for line in lines if line.isdigit()]
            missing = sum(int(line.split()[0]) for line in lines if not line.isdigit())
        assert missing == writer.dropped
        assert written == sorted(set(written))


def test_a_pipe_whose_reader_has_gone_is_survived(pipe: tuple[int, int]) -> None:
    reader, descriptor = pipe
    os.close(reader)
    writer = LogWriter.to_descriptor(descriptor, gap_line)
    writer.write(b"a\n")
    writer.close(PATIENCE_S)
    assert writer.dropped == 1


def test_closing_writes_what_waits_and_later_lines_are_written_too() -> None:
    sink = Sink()
    writer = LogWriter(sink, gap_line)
    for _ in range(100):
        writer.write(b"a\n")
    writer.close(PATIENCE_S)
    assert sink.text == b"a\n" * 100
    writer.write(b"late\n")
    writer.close(PATIENCE_S)
    assert sink.text.endswith(b"late\n")


def test_without_a_sink_lines_are_counted_and_no_thread_is_started() -> None:
    before = threading.active_count()
    writer = LogWriter(None, gap_line)
    writer.write(b"a\n")
    assert writer.flush(0)
    assert (writer.dropped, threading.active_count()) == (1, before)


def test_lines_of_many_threads_are_all_written() -> None:
    sink = Sink()
    writer = LogWriter(sink, gap_line)

    def many(name: int) -> None:
        for number in range(200):
            writer.write(b"%d %d\n" % (name, number))

    threads = [threading.Thread(target=many, args=(name,)) for name in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert writer.flush(PATIENCE_S)
    by_thread: dict[bytes, list[int]] = {}
    for line in sink.text.splitlines():
        name, number = line.split()
        by_thread.setdefault(name, []).append(int(number))
    assert list(by_thread.values()) == [list(range(200))] * 4


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "this never came true"
        time.sleep(0.001)
