"""The state machine on a clock of numbers."""

from typing import Any

from app.sandbox.jobs import Job, JobBook, State


def a_job(name: str, at: float = 0.0, **fields: Any) -> Job:
    directives = fields.pop("directives", {})
    return Job(
        request_id=name,
        model_id="a/b",
        input={},
        directives=directives,
        created_at=at,
        queue_s=fields.pop("queue_s", 1.0),
        run_s=fields.pop("run_s", 4.0),
    )


def book(*jobs: Job, concurrency: int = 2) -> JobBook:
    made = JobBook(concurrency)
    for job in jobs:
        made.add(job)
    return made


def test_a_job_waits_runs_and_finishes_each_at_its_own_instant_however_late_one_looks() -> None:
    job = a_job("a", directives={"fail": 0})
    made = book(job)
    assert made.settle(0.9) == []
    made.settle(100)
    assert (job.started_at, job.finished_at, job.state) == (1.0, 5.0, State.FAILED)


def test_a_job_is_not_finished_before_its_file_is_there() -> None:
    job = a_job("a")
    made = book(job)
    made.settle(50)
    assert job.state is State.RUNNING
    made.prepared(job, 60, output={"video": "a.mp4"})
    made.settle(60)
    assert (job.state, job.finished_at) == (State.SUCCEEDED, 60)


def test_a_job_is_not_finished_before_its_least_time_though_its_file_is_there() -> None:
    job = a_job("a")
    made = book(job)
    made.settle(1)
    made.prepared(job, 2, output={"video": "a.mp4"})
    made.settle(4.9)
    assert job.state is State.RUNNING
    assert made.next_event() == 5.0


def test_no_more_run_than_there_are_slots_and_the_line_moves_in_order() -> None:
    jobs = [
        a_job(name, at, directives={"fail": 0})
        for name, at in (("a", 0.0), ("b", 0.1), ("c", 0.2), ("d", 0.3))
    ]
    made = book(*jobs)
    made.settle(2)
    assert [job.state for job in jobs] == [State.RUNNING, State.RUNNING, State.QUEUED, State.QUEUED]
    assert [made.place(job) for job in jobs[2:]] == [0, 1]
    made.settle(100)
    assert [job.started_at for job in jobs] == [1.0, 1.1, 5.0, 5.1]


def test_a_long_wait_at_the_head_does_not_hold_up_the_others() -> None:
    slow, quick = a_job("slow", queue_s=60), a_job("quick")
    made = book(slow, quick, concurrency=1)
    made.settle(2)
    assert (slow.state, quick.state) == (State.QUEUED, State.RUNNING)


def test_only_a_queued_job_can_be_cancelled_and_it_never_starts() -> None:
    waiting, going = a_job("waiting", queue_s=10), a_job("going", queue_s=0)
    made = book(waiting, going)
    made.settle(1)
    assert made.cancel(waiting, 1)
    assert not made.cancel(waiting, 2)
    assert not made.cancel(going, 2)
    made.settle(1000)
    assert (waiting.state, waiting.started_at, waiting.finished_at) == (State.CANCELLED, None, 1)


def test_a_restored_book_goes_on_where_the_old_one_stopped() -> None:
    queued, going = a_job("queued"), a_job("going")
    old = book(going, queued, concurrency=1)
    old.settle(1)
    new = JobBook(1)
    assert new.restore([queued, going]) == [going]
    new.prepared(going, 7, output={})
    new.settle(7)
    assert (going.finished_at, queued.started_at) == (7, 7)
    new.add(late := a_job("late", 8))
    assert late.number > queued.number
