"""What a look at a job shows: its status, its result or the answer to a cancel, and what is no answer."""

from typing import Any

import pytest
from hypothesis import given

from app.upstream.outcomes import (
    INCONCLUSIVE,
    Exchange,
    Seen,
    Sent,
    observe_cancel,
    observe_result,
    observe_status,
)
from tests.upstream.exchanges import answer, exchanges


@given(exchanges)
def test_no_look_raises_and_none_ends_a_job_without_a_complete_answer(exchange: Exchange) -> None:
    for observe in (observe_status, observe_result, observe_cancel):
        seen = observe(exchange).seen
        if not exchange.complete or exchange.status is None:
            assert seen in {Seen.TIMED_OUT, Seen.UNREACHABLE}
        if seen in {Seen.SUCCEEDED, Seen.FAILED, Seen.CANCELLED, Seen.FINISHED}:
            assert exchange.status in {200, 201, 202}
    assert observe_status(exchange).seen not in {Seen.SUCCEEDED, Seen.FAILED}


class TestLooks:
    @pytest.mark.parametrize(
        ("word", "status", "result"),
        [
            ("in_queue", Seen.IN_QUEUE, Seen.IN_QUEUE),
            ("in_progress", Seen.IN_PROGRESS, Seen.IN_PROGRESS),
            ("completed", Seen.FINISHED, Seen.SUCCEEDED),
            ("succeeded", Seen.FINISHED, Seen.SUCCEEDED),
            ("failed", Seen.FINISHED, Seen.FAILED),
            ("cancelled", Seen.CANCELLED, Seen.CANCELLED),
            ("canceled", Seen.CANCELLED, Seen.CANCELLED),
            ("pending", Seen.IN_QUEUE, Seen.IN_QUEUE),
            ("waiting", Seen.IN_QUEUE, Seen.IN_QUEUE),
            ("starting", Seen.IN_PROGRESS, Seen.IN_PROGRESS),
            ("processing", Seen.IN_PROGRESS, Seen.IN_PROGRESS),
            ("IN_QUEUE", Seen.IN_QUEUE, Seen.IN_QUEUE),
            ("Failed", Seen.FINISHED, Seen.FAILED),
        ],
    )
    def test_every_spelling_is_taken_on_either_route(self, word: str, status: Seen, result: Seen) -> None:
        exchange = answer(200, {"status": word, "output": {"video": "https://x/y.mp4"}})
        assert observe_status(exchange).seen is status
        assert observe_result(exchange).seen is result

    @pytest.mark.parametrize("word", ["warming_up", "", "error", "done", "x" * 500])
    def test_an_unknown_word_means_still_running_never_a_failure(self, word: str) -> None:
        for observe in (observe_status, observe_result):
            observation = observe(answer(200, {"status": word}))
            assert observation.seen is Seen.IN_PROGRESS
            assert observation.unknown_status is not None
            assert len(observation.unknown_status) <= 60

    @pytest.mark.parametrize(
        ("position", "kept"),
        [
            (0, 0),
            (3, 3),
            (-1, None),
            (2**31, None),
            (2**31 - 1, 2**31 - 1),
            (True, None),
            ("3", None),
            (1.0, None),
        ],
    )
    def test_a_queue_position_is_a_plain_small_integer_or_nothing(
        self, position: Any, kept: int | None
    ) -> None:
        document = {"status": "in_queue", "queue_position": position}
        assert observe_status(answer(200, document)).queue_position == kept
        document["status"] = "in_progress"
        assert observe_status(answer(200, document)).queue_position is None

    @pytest.mark.parametrize("output", [None, {}, [], "https://x/y.mp4", 1, True])
    def test_success_without_an_output_object_ends_nothing(self, output: Any) -> None:
        for word in ("succeeded", "completed"):
            observation = observe_result(answer(200, {"status": word, "output": output}))
            assert (observation.seen, observation.reason) == (Seen.UNUSABLE, "succeeded_without_output")

    @pytest.mark.parametrize("error", [None, "no", {"code": 1}, ["a", {"b": 2}], 0, False])
    def test_a_failures_error_is_kept_in_any_shape(self, error: Any) -> None:
        observation = observe_result(answer(200, {"status": "failed", "error": error}))
        assert (observation.seen, observation.error) == (Seen.FAILED, error)

    @pytest.mark.parametrize(
        ("cost", "kept"),
        [(0.25, 0.25), (1, 1.0), (0, 0.0), (-1, None), ("1", None), (True, None), (None, None)],
    )
    def test_a_cost_is_a_number_of_dollars_or_nothing(self, cost: Any, kept: float | None) -> None:
        document = {"status": "succeeded", "output": {"video": "u"}, "cost": cost}
        assert observe_result(answer(200, document)).cost_usd == kept

    def test_a_cost_that_is_not_finite_is_nothing(self) -> None:
        body = b'{"status":"succeeded","output":{"video":"u"},"cost":1e999}'
        assert observe_result(answer(200, body=body)).cost_usd is None

    @pytest.mark.parametrize(
        ("outcome", "seen"),
        [
            ("cancelled", Seen.CANCELLED),
            ("canceled", Seen.CANCELLED),
            ("not_cancellable", Seen.NOT_CANCELLABLE),
            ("CANCELLED?", Seen.UNUSABLE),
            (None, Seen.UNUSABLE),
            (True, Seen.UNUSABLE),
        ],
    )
    def test_a_cancel_is_believed_only_in_its_documented_words(self, outcome: Any, seen: Seen) -> None:
        assert observe_cancel(answer(202, {"outcome": outcome, "status": "cancelled"})).seen is seen

    @pytest.mark.parametrize(
        ("status", "document", "seen"),
        [
            (404, {"error_code": 404001}, Seen.GONE),
            (404, {}, Seen.GONE),
            (400, {"error_code": 404001}, Seen.GONE),
            (200, {"error_code": 404001}, Seen.GONE),
            (401, {"message": "Unauthorized"}, Seen.CREDENTIAL_REFUSED),
            (402, {}, Seen.CREDENTIAL_REFUSED),
            (403, {"error_code": 403001}, Seen.CREDENTIAL_REFUSED),
            (400, {"error_code": 400004}, Seen.CREDENTIAL_REFUSED),
            (200, {"error_code": 400004}, Seen.CREDENTIAL_REFUSED),
            (400, {}, Seen.UNUSABLE),
            (200, [], Seen.UNUSABLE),
            (200, {}, Seen.UNUSABLE),
            (204, None, Seen.UNUSABLE),
            (302, {}, Seen.UNUSABLE),
            (429, {}, Seen.UNUSABLE),
            (500, {"status": "completed"}, Seen.UNUSABLE),
            (503, {"status": "failed"}, Seen.UNUSABLE),
        ],
    )
    def test_what_is_no_answer_says_nothing_of_the_job(self, status: int, document: Any, seen: Seen) -> None:
        assert observe_status(answer(status, document)).seen is seen
        if document != {} or status != 200:
            assert observe_result(answer(status, document)).seen is seen
        assert observe_cancel(answer(status, document)).seen is seen
        assert (seen in INCONCLUSIVE) == (seen is not Seen.GONE)

    def test_a_timeout_is_told_from_a_broken_connection(self) -> None:
        for observe in (observe_status, observe_result, observe_cancel):
            assert observe(Exchange(Sent.BODY, failure="timeout")).seen is Seen.TIMED_OUT
            assert observe(Exchange(Sent.BODY, 200, {}, b"{", failure="ReadError")).seen is Seen.UNREACHABLE
