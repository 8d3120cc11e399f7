"""Every directive does what its line in the table says, over real HTTP."""

import email.utils
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest

from app.sandbox import directives
from tests.sandbox.harness import DREAMINA, Running

LEAVES_S = 1.0  # when a client leaves: long after a busy sandbox has read what it said

T = TypeVar("T", bound=Callable[..., Any])
COVERED: set[str] = set()
DOC = Path(__file__).parents[2] / "docs" / "sandbox.md"

Body = dict[str, Any]
REFUSALS: dict[str, tuple[int, Body]] = {
    "reject": (400, {"error_code": 400001, "error_message": "refused by the sandbox"}),
    "reject=402": (402, {"error_code": 400002, "error_message": "refused by the sandbox"}),
    "reject=418": (418, {"error_code": 418000, "error_message": "refused by the sandbox"}),
    "error-code=400002": (200, {"error_code": 400002, "error_message": "refused by the sandbox"}),
    "unauthorized": (401, {"message": "Unauthorized"}),
    "no-balance": (402, {"error_code": 400002, "error_message": "insufficient balance"}),
    "credential": (400, {"error_code": 400004, "error_message": "invalid token"}),
}
BENT: dict[str, Callable[[Body, str], bool]] = {
    "empty-object": lambda body, _: body == {},
    "no-id": lambda body, _: "request_id" not in body and "status_url" in body,
    "null-id": lambda body, _: body["request_id"] is None,
    "numeric-id": lambda body, _: body["request_id"] == 12345,
    "long-id": lambda body, _: len(body["request_id"]) == 300,
    "unsafe-id": lambda body, _: "/" in body["request_id"] and "\n" in body["request_id"],
    "oversize": lambda body, text: len(text) > 65_536 and "request_id" in body,
}


def covers(*names: str) -> Callable[[T], T]:
    """Note that a test covers these directives."""
    COVERED.update(name.partition("=")[0] for name in names)
    return lambda test: test


@covers(*REFUSALS)
@pytest.mark.parametrize("word", REFUSALS)
def test_a_refusal_is_a_complete_answer_and_no_charge(shared: Running, word: str) -> None:
    charges = shared.ledger()["charges"]
    answer = shared.post(f"a boat [sandbox:{word}]")
    assert (answer.status_code, answer.json()) == REFUSALS[word]
    assert shared.ledger()["charges"] == charges
    assert shared.last_submission()["answered"]


@covers("reject")
def test_a_reject_422_has_the_shape_of_a_schema_mismatch(shared: Running) -> None:
    assert "detail" in shared.post("[sandbox:reject=422]").json()


@covers("status")
@pytest.mark.parametrize("code", [500, 502, 504])
def test_a_proxy_s_error_is_a_page(shared: Running, code: int) -> None:
    answer = shared.post(f"[sandbox:status={code}]")
    assert answer.status_code == code
    assert answer.headers["content-type"].startswith("text/html")
    assert not shared.last_submission()["recorded"]


@covers("rate-limit", "503-retry-after", "rate-limit-date")
def test_busy_answers_say_when_to_come_back(shared: Running) -> None:
    limited = shared.post("[sandbox:rate-limit=7]")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    down = shared.post("[sandbox:503-retry-after]")
    assert (down.status_code, down.headers["retry-after"]) == (503, "2")
    dated = shared.post("[sandbox:rate-limit-date=60]")
    until = email.utils.parsedate_to_datetime(dated.headers["retry-after"]).timestamp()
    assert (dated.status_code, until) == (429, shared.clock.now + 60)


@covers("redirect")
def test_redirect_is_the_only_redirect(shared: Running) -> None:
    answer = shared.post("[sandbox:redirect]")
    assert answer.status_code == 302
    assert answer.headers["location"] == f"{shared.options.public_url}/elsewhere"


@covers("recorded")
def test_recorded_turns_a_refusal_into_a_charge_nobody_was_told_of(shared: Running) -> None:
    assert shared.post("[sandbox:recorded] [sandbox:status=502,fail]").status_code == 502
    submission = shared.last_submission()
    assert submission["recorded"]
    assert shared.status(submission["request_id"])["status"] == "in_queue"


@covers("hang", "hang-before")
@pytest.mark.parametrize(("word", "recorded"), [("hang", True), ("hang-before", False)])
def test_hanging_never_answers_and_only_hang_charges(shared: Running, word: str, recorded: bool) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        shared.client.post(
            f"/v1/models/{DREAMINA}", json={"prompt": f"[sandbox:{word},fail]"}, timeout=LEAVES_S
        )
    submission = shared.last_submission()
    assert (submission["recorded"], submission["answered"]) == (recorded, False)


@covers("slow")
def test_slow_answers_late_and_not_at_all_to_one_who_left(shared: Running) -> None:
    began = time.monotonic()
    assert shared.post("[sandbox:slow=0.3,fail]").status_code == 200
    assert time.monotonic() - began >= 0.3
    with pytest.raises(httpx2.ReadTimeout):
        shared.client.post(
            f"/v1/models/{DREAMINA}", json={"prompt": "[sandbox:slow=9,fail]"}, timeout=LEAVES_S
        )
    submission = shared.last_submission()
    assert (submission["recorded"], submission["answered"]) == (True, False)


@covers("drip")
def test_drip_sends_byte_by_byte(shared: Running) -> None:
    body = {"prompt": "[sandbox:drip=0.001,fail]"}
    with shared.client.stream("POST", f"/v1/models/{DREAMINA}", json=body) as answer:
        pieces = list(answer.iter_raw())
    assert b"request_id" in b"".join(pieces)
    assert len(pieces) > 20
    assert shared.last_submission()["answered"]


@covers("malformed", "html")
@pytest.mark.parametrize("word", ["malformed", "html"])
def test_an_answer_that_is_no_json_still_charges(shared: Running, word: str) -> None:
    answer = shared.post(f"[sandbox:{word},fail]")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"."):
        answer.json()
    assert shared.last_submission()["recorded"]


@covers(*BENT)
@pytest.mark.parametrize("word", BENT)
def test_a_bent_answer_is_json_and_the_job_is_there(shared: Running, word: str) -> None:
    answer = shared.post(f"[sandbox:{word},fail]")
    assert answer.status_code == 200
    assert BENT[word](answer.json(), answer.text)
    assert shared.status(shared.last_submission()["request_id"])["status"] == "in_queue"


@covers("truncated")
def test_truncated_breaks_off_before_its_promised_length(shared: Running) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        shared.post("[sandbox:truncated,fail]")
    submission = shared.last_submission()
    assert (submission["recorded"], submission["answered"]) == (True, False)


@covers("queued")
def test_queued_stays_until_it_is_cancelled(shared: Running) -> None:
    request_id = shared.submit("[sandbox:queued]")
    shared.clock.now += 100_000
    assert shared.status(request_id)["status"] == "in_queue"
    assert shared.cancel(request_id)["outcome"] == "cancelled"
    assert shared.status(request_id)["status"] == "cancelled"


@covers("queue", "run", "fail")
def test_queue_and_run_set_the_least_times_of_one_job(shared: Running) -> None:
    request_id = shared.submit("[sandbox:queue=50, run=70] [sandbox:fail]")
    words = []
    for step in (49, 2, 68, 2):
        shared.clock.now += step
        words.append(shared.status(request_id)["status"])
    assert words == ["in_queue", "in_progress", "in_progress", "completed"]


@covers("fail", "fail-object", "fail-list")
@pytest.mark.parametrize(("word", "kind"), [("fail", str), ("fail-object", dict), ("fail-list", list)])
def test_a_failed_job_is_completed_on_status_and_failed_on_result(
    shared: Running, word: str, kind: type[object]
) -> None:
    request_id = shared.submit(f"[sandbox:{word}]")
    result = shared.finish(request_id)
    assert (result["status"], type(result["error"])) == ("failed", kind)
    assert "output" not in result
    assert shared.status(request_id)["status"] == "completed"


@covers("canned", "as-list")
def test_canned_jobs_share_a_clip_and_as_list_answers_a_list(shared: Running) -> None:
    one, other = shared.submit("[sandbox:canned]"), shared.submit("[sandbox:canned,as-list]")
    video = shared.finish(one)["output"]["video"]
    assert shared.finish(other)["output"] == {"videos": [video]}
    assert shared.client.get(video).headers["content-type"] == "video/mp4"


def get(shared: Running, request_id: str, what: str) -> httpx2.Response:
    return shared.client.get(f"/v1/requests/{request_id}/{what}")


@covers("vanish")
def test_vanish_is_unknown_after_the_first_status(shared: Running) -> None:
    request_id = shared.submit("[sandbox:vanish,fail]")
    assert get(shared, request_id, "result").status_code == 200
    assert get(shared, request_id, "status").status_code == 200
    for what in ("status", "result", "status"):
        answer = get(shared, request_id, what)
        assert (answer.status_code, answer.json()["error_code"]) == (404, 404001)


@covers("vanish-once")
def test_vanish_once_is_unknown_once(shared: Running) -> None:
    request_id = shared.submit("[sandbox:vanish-once,fail]")
    assert [get(shared, request_id, "status").status_code for _ in range(4)] == [200, 404, 200, 200]


@covers("unknown-status")
def test_unknown_status_is_said_only_while_running(shared: Running) -> None:
    request_id = shared.submit("[sandbox:unknown-status,fail]")
    assert shared.status(request_id)["status"] == "in_queue"
    shared.clock.now += 2
    assert shared.status(request_id)["status"] == shared.result(request_id)["status"] == "warming_up"
    assert shared.finish(request_id)["status"] == "failed"


@covers("alt-words")
def test_alt_words_says_on_status_what_belongs_on_result(shared: Running) -> None:
    failed, fine = shared.submit("[sandbox:alt-words,fail]"), shared.submit("[sandbox:alt-words,canned]")
    shared.finish(failed)
    shared.finish(fine)
    gone = shared.submit("[sandbox:alt-words,queued]")
    shared.cancel(gone)
    assert [shared.status(each)["status"] for each in (failed, fine, gone)] == [
        "failed",
        "succeeded",
        "canceled",
    ]


@covers("backwards")
def test_backwards_returns_to_the_queue_once(shared: Running) -> None:
    request_id = shared.submit("[sandbox:backwards,fail]")
    shared.clock.now += 2
    seen = [shared.status(request_id) for _ in range(4)]
    assert [each["status"] for each in seen] == ["in_progress", "in_queue", "in_progress", "in_progress"]
    assert isinstance(seen[1]["queue_position"], int)


@covers("status-500", "status-429", "result-500")
@pytest.mark.parametrize(
    ("word", "what", "code"),
    [("status-500", "status", 500), ("status-429", "status", 429), ("result-500", "result", 500)],
)
def test_errors_on_polls_last_for_count_calls_or_for_ever(
    shared: Running, word: str, what: str, code: int
) -> None:
    twice, always = shared.submit(f"[sandbox:{word}=2,fail]"), shared.submit(f"[sandbox:{word},fail]")
    assert [get(shared, twice, what).status_code for _ in range(3)] == [code, code, 200]
    assert [get(shared, always, what).status_code for _ in range(3)] == [code] * 3


@covers("status-malformed")
def test_status_malformed_is_no_json(shared: Running) -> None:
    request_id = shared.submit("[sandbox:status-malformed=1,fail]")
    with pytest.raises(ValueError, match=r"."):
        get(shared, request_id, "status").json()
    assert shared.status(request_id)["status"] == "in_queue"


@covers("status-hang")
def test_status_hang_never_answers(shared: Running) -> None:
    request_id = shared.submit("[sandbox:status-hang=1,fail]")
    with pytest.raises(httpx2.ReadTimeout):
        shared.client.get(f"/v1/requests/{request_id}/status", timeout=LEAVES_S)
    assert shared.status(request_id)["status"] == "in_queue"


@covers("result-missing-output")
def test_result_missing_output_succeeds_with_nothing(shared: Running) -> None:
    result = shared.finish(shared.submit("[sandbox:result-missing-output,canned]"))
    assert result["status"] == "succeeded"
    assert "output" not in result


@covers("not-cancellable")
def test_not_cancellable_refuses_even_in_the_queue(shared: Running) -> None:
    request_id = shared.submit("[sandbox:not-cancellable,fail]")
    answer = shared.cancel(request_id)
    assert answer == {"request_id": request_id, "status": "in_queue", "outcome": "not_cancellable"}


@covers("cancel-500")
def test_cancel_500_cancels_nothing(shared: Running) -> None:
    request_id = shared.submit("[sandbox:cancel-500,fail]")
    assert shared.client.post(f"/v1/requests/{request_id}/cancel").status_code == 500
    assert shared.status(request_id)["status"] == "in_queue"


@covers("cancel-hang")
def test_cancel_hang_cancels_without_a_word(shared: Running) -> None:
    request_id = shared.submit("[sandbox:cancel-hang,fail]")
    with pytest.raises(httpx2.ReadTimeout):
        shared.client.post(f"/v1/requests/{request_id}/cancel", timeout=LEAVES_S)
    assert shared.status(request_id)["status"] == "cancelled"


@pytest.mark.parametrize(
    "word", ["nonsense", "queue", "queue=soon", "queue=-1", "queue=nan", "reject=200", "fail=1", ""]
)
def test_a_word_that_cannot_be_followed_is_a_422_that_helps(shared: Running, word: str) -> None:
    answer = shared.post(f"[sandbox:{word}]")
    assert answer.status_code == 422
    assert "sandbox directive" in answer.json()["detail"][0]["msg"]
    assert not shared.last_submission()["recorded"]


def test_an_unknown_word_is_answered_with_the_known_ones(shared: Running) -> None:
    message = shared.post("[sandbox:nonsense]").json()["detail"][0]["msg"]
    assert all(each.usage in message for each in directives.TABLE)


def test_every_directive_has_a_test() -> None:
    assert set(directives.BY_NAME) == COVERED


def test_the_documented_table_is_the_table() -> None:
    assert directives.markdown_table() in DOC.read_text()
