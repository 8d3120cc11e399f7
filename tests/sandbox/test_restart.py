"""What a sandbox remembers when it starts again, and what it forgets on purpose."""

import json
from pathlib import Path

from tests.sandbox.harness import ManualClock, running
from tests.sandbox.test_media import SMALL, data_uri, picture_bytes


def test_jobs_of_every_state_survive_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    with running(tmp_path, clock, concurrency=9) as first:
        done = first.submit("a", **SMALL)
        url = first.finish(done)["output"]["video"]
        failed = first.submit("[sandbox:fail-object]")
        error = first.finish(failed)["error"]
        gone = first.submit("[sandbox:queued]")
        first.cancel(gone)
        waiting = first.submit("[sandbox:queue=100]", image_urls=[data_uri(picture_bytes())], **SMALL)
        going = first.submit("[sandbox:queue=0,run=10]", resolution="1080P", number_of_frames=700)
        clock.now += 1
        assert first.status(going)["status"] == "in_progress"
    record = tmp_path / "jobs" / f"{going}.json"
    shorter = json.loads(record.read_text())
    shorter["input"] |= SMALL  # its rendering was cut short; a short one is begun anew
    record.write_text(json.dumps(shorter))
    with running(tmp_path, clock, concurrency=9) as second:
        result = second.result(done)
        assert result["status"] == "succeeded"
        assert result["output"]["video"].rpartition("/")[2] == url.rpartition("/")[2]
        assert second.client.get(result["output"]["video"]).status_code == 200
        assert second.result(failed)["error"] == error
        assert second.status(gone)["status"] == "cancelled"
        assert second.status(waiting)["status"] == "in_queue"
        assert second.status(going)["status"] == "in_progress"
        clock.now += 100
        assert second.finish(going)["status"] == "succeeded"
        assert second.finish(waiting)["status"] == "succeeded"
    assert not list(tmp_path.rglob("*.part"))
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_broken_record_and_half_written_files_do_not_stop_the_start(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        request_id = first.submit("[sandbox:fail]")
    (tmp_path / "jobs" / "broken.json").write_text("{")
    (tmp_path / "jobs" / "strange.json").write_text('{"state": "queued"}')
    (tmp_path / "files" / "half.mp4.part").write_bytes(b"x")
    with running(tmp_path) as second:
        assert second.status(request_id)["status"] == "in_queue"
    assert not (tmp_path / "files" / "half.mp4.part").exists()


def test_over_the_caps_the_oldest_file_goes_and_then_the_oldest_job(tmp_path: Path) -> None:
    with running(tmp_path, keep_files=1, keep_jobs=2) as sandbox:
        ids = []
        for _ in range(3):
            ids.append(sandbox.submit("x", **SMALL))
            sandbox.finish(ids[-1])
        assert sandbox.client.get(f"/v1/requests/{ids[0]}/status").status_code == 404
        codes = [sandbox.client.get(f"/files/{each}.mp4").status_code for each in ids]
        assert sandbox.result(ids[1])["status"] == "succeeded"
    assert codes[2] == 200
    assert [path.name for path in (tmp_path / "files").glob("*.mp4")] == [f"{ids[2]}.mp4"]
    assert {path.stem for path in (tmp_path / "jobs").iterdir()} == set(ids[1:])


def test_the_token_is_in_no_file(tmp_path: Path) -> None:
    with running(tmp_path) as sandbox:
        sandbox.finish(sandbox.submit("[sandbox:fail]"))
        token = sandbox.options.token.encode()
    assert all(token not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
