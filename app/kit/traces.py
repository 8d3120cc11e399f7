"""Spans of OpenTelemetry, where an operator asks for them; nothing and at no cost where not.

To trace neither blocks nor raises, so a span may stand anywhere, also between a paid call and its record.
Attributes are names of ours, ids and numbers: never an input, a URL or a key. What is not sampled is decided
here, by the trace id alone, before the library is asked: so all servers decide alike about one trace.

The span of a request has an id that follows from the request's own. So whoever polls it later, on any server,
can link to the span in which it was submitted, and no row has to keep that.
"""

import atexit
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from app.kit import log
from app.kit.log import Aside, get_logger, new_trace_id, trace_id_var

Value = str | int | float | bool
_log = get_logger("traces")
_SAMPLED: Final = 1
_TRACE_ID: Final = 32  # characters
_LAST_BITS: Final = 2**64  # of a trace id, by which it is sampled, as OpenTelemetry's own sampler does
_END_S: Final = 2.0
_next_ids: ContextVar[tuple[int, int]] = ContextVar("next_ids", default=(0, 0))


class TracingError(ValueError):
    """Traces cannot be sent; the message is for the operator."""


class Link(NamedTuple):
    """The span of a request, in which it was submitted: the trace id of its row, and its own id."""

    trace_id: str
    request_id: str


class _Tracing(NamedTuple):
    """The library, set up."""

    provider: Any
    tracer: Any
    api: Any
    bound: int  # trace ids whose last bits are below it are sampled
    callers: "_PerSecond"


class _PerSecond:
    """A number of times in each second of a clock; what is not used is not kept."""

    def __init__(self, count: int, clock: Callable[[], float]) -> None:
        self._count = count
        self._clock = clock
        self._second = 0
        self._left = 0

    def has_one(self) -> bool:
        """Takes one, if one is left."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._left = second, self._count
        self._left -= 1
        return self._left >= 0


_now: _Tracing | None = None


def is_on() -> bool:
    """Returns whether spans are made at all."""
    return _now is not None


def is_sampled(trace_id: str) -> bool:
    """Returns whether a trace with this id is recorded, where its caller did not decide it."""
    # A request that was made again from a log may have no trace.
    return _now is not None and len(trace_id) == _TRACE_ID and int(trace_id[16:], 16) < _now.bound


class Span:
    """A block of work, as a span below the present one; or of a trace of its own, linked to a request's.

    It raises nothing of its own, and has no effect where traces are off or this one is not sampled.
    """

    __slots__ = ("_attributes", "_link", "_name", "_of", "_span", "_tokens")

    def __init__(
        self, name: str, *, link: Link | None = None, of_request: str | None = None, **attributes: Value
    ) -> None:
        self._name = name
        self._link = link
        self._of = of_request
        self._attributes = attributes
        self._span: Any = None
        self._tokens: list[Any] = []

    def __enter__(self) -> Self:
        if _now is not None:
            with Aside("beginning a span"):
                self._begin(_now)
        return self

    def _begin(self, tracing: _Tracing) -> None:
        trace, context = tracing.api
        links, kind = [], trace.SpanKind.INTERNAL
        if self._link is not None:  # work that no call waits for
            if not is_sampled(self._link.trace_id):
                return
            own = new_trace_id()
            links = [trace.Link(_context_of(trace, self._link.trace_id, span_id_of(self._link.request_id)))]
            self._tokens.append((trace_id_var, trace_id_var.set(own)))
            parent = trace.set_span_in_context(trace.INVALID_SPAN)
            ids = int(own, 16), 0
        else:
            if not trace.get_current_span().is_recording():
                return
            parent = None
            ids = 0, (0 if self._of is None else span_id_of(self._of))
        token = _next_ids.set(ids)
        try:
            self._span = tracing.tracer.start_span(
                self._name, context=parent, kind=kind, attributes=self._named(), links=links
            )
        finally:
            _next_ids.reset(token)
        self._tokens.append((context, context.attach(trace.set_span_in_context(self._span))))

    def _named(self) -> dict[str, Value]:
        return {f"reelgate.{name}": value for name, value in self._attributes.items()}

    def note(self, **attributes: Value | None) -> None:
        """Adds attributes; those that are None are left out."""
        if self._span is not None:
            with Aside("noting something of a span"):
                for name, value in attributes.items():
                    if value is not None:
                        self._span.set_attribute(f"reelgate.{name}", value)

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for owner, token in reversed(self._tokens):
            with Aside("ending a span"):
                (owner.reset if isinstance(owner, ContextVar) else owner.detach)(token)
        if self._span is not None:
            with Aside("ending a span"):
                if error is not None:  # its kind alone: a message may repeat what a caller sent
                    self._span.set_attribute("error.type", type(error).__name__)
                self._span.end()


class CallSpan:
    """The span of one HTTP call: it continues the caller's trace, and is the root of everything below it."""

    __slots__ = ("_span", "_token", "traceparent")

    def __init__(self, method: str, traceparent: str | None) -> None:
        self._span: Any = None
        self._token: Any = None
        self.traceparent: str | None = None
        """What the layers below read in the caller's place; None where this call is not recorded."""
        if _now is not None:
            with Aside("beginning a span"):
                self._begin(_now, method, traceparent)

    def _begin(self, tracing: _Tracing, method: str, traceparent: str | None) -> None:
        trace, context = tracing.api
        theirs = log.trace_id_in(traceparent)
        trace_id = theirs or new_trace_id()
        parent = trace.set_span_in_context(trace.INVALID_SPAN)
        if theirs is not None and traceparent is not None:
            flags, span_id = int(traceparent[53:55], 16), int(traceparent[36:52], 16)
            if not flags & _SAMPLED or not span_id:
                return
            if (
                not is_sampled(trace_id) and not tracing.callers.has_one()
            ):  # nobody has all of theirs recorded
                return
            parent = trace.set_span_in_context(
                trace.NonRecordingSpan(_context_of(trace, trace_id, span_id)), parent
            )
        elif not is_sampled(trace_id):
            return
        token = _next_ids.set((int(trace_id, 16), 0))
        try:
            self._span = tracing.tracer.start_span(method, context=parent, kind=trace.SpanKind.SERVER)
        finally:
            _next_ids.reset(token)
        self._token = context.attach(trace.set_span_in_context(self._span))
        span_id = self._span.get_span_context().span_id
        self.traceparent = f"00-{trace_id}-{span_id:016x}-01"

    def end(self, method: str, route: str, status: int, attributes: dict[str, Value]) -> None:
        """Ends it, named by the template of its route."""
        if _now is None or self._span is None:
            return
        with Aside("ending a span"):
            _now.api[1].detach(self._token)
            self._span.update_name(f"{method} {route}")
            self._span.set_attributes(
                {"http.request.method": method, "http.route": route, "http.response.status_code": status}
                | attributes
            )
            self._span.end()


def span_id_of(request_id: str) -> int:
    """Returns the id of a request's span: the last 64 bits of the request's id, which are random."""
    return int(request_id.replace("-", "")[16:], 16)


def start_tracing(
    *,
    endpoint: str,
    headers: dict[str, str],
    ratio: float,
    callers_per_s: int,
    role: str,
    version: str,
    exporter: Any = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Sends the spans of this process to `endpoint`, the address of an OTLP receiver, from a thread.

    `ratio` of the traces are recorded where the caller did not decide; of those for which callers decided it,
    `callers_per_s` in each second beside what the ratio records of them. In tests `exporter` takes them.

    Raises:
        TracingError: the packages of the extra `otel` are missing.

    """
    global _now  # noqa: PLW0603 - of the process, as its log is
    try:
        from opentelemetry import context, trace  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.id_generator import (  # noqa: PLC0415 - as above
            IdGenerator,
            RandomIdGenerator,
        )
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415 - as above
    except ModuleNotFoundError as error:
        raise TracingError(
            f"traces need more packages: pip install 'reelgate[otel]' ({error.name} is missing)."
        ) from error

    class Ids(IdGenerator):  # type: ignore[misc, unused-ignore]  # untyped where the extra is missing
        """The ids that we want, or random ones."""

        random = RandomIdGenerator()

        def generate_trace_id(self) -> int:
            return _next_ids.get()[0] or self.random.generate_trace_id()

        def generate_span_id(self) -> int:
            return _next_ids.get()[1] or self.random.generate_span_id()

    resource = Resource({"service.name": "reelgate", "service.version": version, "reelgate.role": role})
    provider = TracerProvider(
        sampler=ALWAYS_ON,  # what is not sampled does not come so far
        resource=resource,
        id_generator=Ids(),
        span_limits=SpanLimits(max_span_attributes=32, max_span_attribute_length=200),
        shutdown_on_exit=False,
    )
    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - as above
            OTLPSpanExporter,
        )

        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", headers=headers, timeout=10)
    # A bounded queue and a thread: what a slow receiver does not take is dropped, and no call waits.
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=4096, schedule_delay_millis=1000))
    callers = _PerSecond(callers_per_s, clock)
    _now = _Tracing(
        provider, provider.get_tracer("reelgate"), (trace, context), round(ratio * _LAST_BITS), callers
    )
    log.show_spans(_current_span_id)
    atexit.register(stop_tracing)
    _log.info("Traces are sent.", ratio=ratio)


def stop_tracing() -> None:
    """Sends what is left, for two seconds at most: a receiver that hangs holds up no stop."""
    global _now
    stopping, _now = _now, None
    log.show_spans(None)
    if stopping is not None:
        thread = threading.Thread(target=stopping.provider.shutdown, daemon=True, name="traces-end")
        thread.start()
        thread.join(_END_S)


def _current_span_id() -> str:
    """Returns the id of the present span, for log lines; empty where there is none."""
    if _now is None:
        return ""
    context = _now.api[0].get_current_span().get_span_context()
    return f"{context.span_id:016x}" if context.is_valid else ""


def _context_of(trace: Any, trace_id: str, span_id: int) -> Any:
    return trace.SpanContext(
        int(trace_id, 16), span_id, is_remote=True, trace_flags=trace.TraceFlags(_SAMPLED)
    )
