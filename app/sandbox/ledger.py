"""The ledger of calls to the sandbox, which tests compare a gateway's records with."""

from collections import Counter, OrderedDict, deque
from dataclasses import asdict, dataclass
from typing import Any

ROUTES = ("submit", "status", "result", "cancel")


@dataclass(slots=True)
class Submission:
    """One submit whose body was fully received.

    request_id: None when no job was recorded. recorded: whether a job was, which is a charge. answered:
    whether the response was handed to the server in full. received_at: seconds since 1970 UTC.
    """

    request_id: str | None
    model_id: str
    received_at: float
    input: Any
    recorded: bool = False
    answered: bool = False


class Ledger:
    """The calls in order, of which the newest `keep` submissions and requests are kept."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.clear()

    def clear(self) -> None:
        """Deletes all calls; the jobs are not affected."""
        self._submissions: deque[Submission] = deque(maxlen=self._keep)
        self._calls: Counter[str] = Counter()
        self._requests: OrderedDict[str, Counter[str]] = OrderedDict()

    def count(self, route: str) -> None:
        """Counts a call of a route, refused ones too."""
        self._calls[route] += 1

    def count_request(self, route: str, request_id: str) -> None:
        """Counts a call about one request, whether it exists or not."""
        counts = self._requests.setdefault(request_id, Counter())
        counts[route] += 1
        if len(self._requests) > self._keep:
            self._requests.popitem(last=False)

    def submitted(self, submission: Submission) -> None:
        """Appends a submission, which the caller goes on updating."""
        self._submissions.append(submission)

    def snapshot(self) -> dict[str, Any]:
        """Returns the ledger for JSON.

        It is `{"submissions": [...], "charges": int, "calls": {route: int}, "requests": {id: {route: int}}}`.
        """
        return {
            "submissions": [asdict(each) for each in self._submissions],
            "charges": sum(each.recorded for each in self._submissions),
            "calls": {route: self._calls[route] for route in ROUTES},
            "requests": {request_id: dict(counts) for request_id, counts in self._requests.items()},
        }
