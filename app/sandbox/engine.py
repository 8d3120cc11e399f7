"""The engine: starts and finishes jobs when they are due, gets their pictures, renders, and keeps records."""

import asyncio
import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image

from app.sandbox.fetch import Fetcher, PictureError, Source
from app.sandbox.jobs import TERMINAL, Job, JobBook, State
from app.sandbox.options import SandboxOptions
from app.sandbox.pictures import example_picture, stand_in
from app.sandbox.render import RenderStopped, decode_picture, write_image, write_tone, write_video
from app.sandbox.shape import FPS, find_picture, frame_count, frame_size, kind_of
from app.sandbox.store import ABRIDGE_OVER, JobFiles, abridge

log = logging.getLogger(__name__)

MIN_NAP_S, MAX_NAP_S = 0.01, 0.5  # the longer bounds how late a jump of an injected clock is noticed
CANNED = "canned.mp4"
CANNED_TONE = "canned.wav"
_CLIPS, _SOUNDS = (".mp4", ".mov", ".webm"), (".wav", ".mp3", ".ogg", ".flac", ".m4a")
CANNED_SIZE, CANNED_FRAMES = (640, 360), FPS
SUFFIXES = {"video": ".mp4", "image": ".png", "audio": ".wav"}


class Engine:
    """The running part of a sandbox. It works on one event loop, from `open` to `close`."""

    def __init__(self, options: SandboxOptions, clock: Callable[[], float]) -> None:
        self.book = JobBook(options.concurrency)
        self.files = JobFiles(options.data_dir)
        self._options = options
        self._clock = clock
        self._fetcher = Fetcher(options, self.files.files)
        self._renderers = ThreadPoolExecutor(options.render_workers, thread_name_prefix="sandbox-render")
        self._canned = threading.Lock()
        self._stopped = threading.Event()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._finished: deque[str] = deque()  # finished jobs, oldest first: the next record to be deleted
        self._with_file: deque[str] = deque()  # jobs with a file, oldest first: the next file to be deleted

    async def open(self) -> None:
        """Loads the jobs of the last run; rendering that was interrupted starts again."""
        jobs = await asyncio.to_thread(self.files.open)
        for job in self.book.restore(jobs):
            self._begin(job)
        for job in sorted(jobs, key=lambda each: each.finished_at or 0.0):
            if job.state in TERMINAL:
                self._retire(job)
        self._spawn(self._keep_time())

    async def close(self) -> None:
        """Stops rendering at the next frame, and writes the records to disk."""
        self._stopped.set()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._fetcher.close()
        await asyncio.to_thread(self._renderers.shutdown, wait=True, cancel_futures=True)
        await asyncio.to_thread(self.files.close)

    async def accept(self, model_id: str, body: Mapping[str, Any], directives: dict[str, float]) -> Job:
        """Records a job and returns it; from then on it survives a crash."""
        job = Job(
            request_id=str(uuid.uuid4()),
            model_id=model_id,
            input=abridge(dict(body)),
            directives=directives,
            created_at=self._clock(),
            queue_s=directives.get("queue", self._options.queue_s),
            run_s=directives.get("run", self._options.run_s),
        )
        picture = find_picture(body)
        if picture is not None and len(picture) > ABRIDGE_OVER:
            await self.files.keep_upload(job.request_id, picture)
        self.book.add(job)
        await asyncio.wrap_future(self.files.save(job))
        self.settle()
        self._wake.set()
        return job

    def find(self, request_id: str) -> Job | None:
        """Returns a job as it is now, or None."""
        self.settle()
        return self.book.jobs.get(request_id)

    def cancel(self, job: Job) -> bool:
        """Cancels a queued job; returns False where it is not queued any more."""
        cancelled = self.book.cancel(job, self._clock())
        if cancelled:
            self._over(job)
        return cancelled

    def settle(self) -> None:
        """Applies the changes that are due, starts the work of jobs that started, and saves what changed."""
        for job in self.book.settle(self._clock()):
            if job.state in TERMINAL:
                self._over(job)
                continue
            self.files.save(job)
            if job.prepared_at is None:
                self._begin(job)

    async def _keep_time(self) -> None:
        """Settles whenever something is due, even if nobody asks."""
        while True:
            self._wake.clear()
            self.settle()
            due = self.book.next_event()
            nap_s = None if due is None else min(MAX_NAP_S, max(MIN_NAP_S, due - self._clock()))
            try:
                async with asyncio.timeout(nap_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _begin(self, job: Job) -> None:
        self._spawn(self._work(job))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, job: Job) -> None:
        """Gets the picture and renders the file; an error ends the job, never the sandbox."""
        output, error = None, None
        try:
            source = Source() if "canned" in job.directives else await self._source(job)
            loop = asyncio.get_running_loop()
            output = await loop.run_in_executor(self._renderers, self._render, job, source)
        except PictureError as reason:
            error = str(reason)
        except RenderStopped:
            return
        except Exception as reason:
            log.exception("sandbox job %s could not be rendered", job.request_id)
            error = f"rendering failed: {type(reason).__name__}"
        self.book.prepared(job, self._clock(), output=output, error=error)
        self.files.save(job)
        self.settle()
        self._wake.set()

    async def _source(self, job: Job) -> Source:
        reference = find_picture(job.input)
        if reference is not None and reference[:5].lower() == "data:":
            upload = self.files.uploads / job.request_id
            if await asyncio.to_thread(upload.exists):
                reference = await asyncio.to_thread(upload.read_text)
        return await self._fetcher.get(reference)

    def _render(self, job: Job, source: Source) -> dict[str, str]:
        """Draws a job's file, in a worker thread; returns its kind and name."""
        kind = kind_of(job.model_id)
        path = self.files.files / (job.request_id + SUFFIXES[kind])
        if kind == "audio":
            write_tone(path, frame_count(job.input) / FPS)
        elif kind == "image":
            write_image(self._picture(job, source), path)
        elif "canned" in job.directives:
            path = self._canned_clip()
        else:
            picture = self._picture(job, source)
            size = frame_size(picture.size, job.input.get("resolution"))
            self._film(picture, path, size, frame_count(job.input), job.request_id)
        return {kind: path.name}

    def _picture(self, job: Job, source: Source) -> Image.Image:
        if source.data is not None:
            return decode_picture(source.data)
        return stand_in(source.caption, str(job.input.get("prompt")))

    def example(self, path: str) -> Path:
        """Returns the file that stands in for an example of RunComfy's; it may have to be drawn first."""
        suffix = Path(path).suffix.lower()
        if suffix in _CLIPS:
            return self._canned_clip()
        if suffix in _SOUNDS:
            return self._canned_tone()
        return example_picture(path)

    def _canned_tone(self) -> Path:
        path = self.files.files / CANNED_TONE
        with self._canned:
            if not path.exists():
                write_tone(path, CANNED_FRAMES / FPS)
        return path

    def _canned_clip(self) -> Path:
        path = self.files.files / CANNED
        with self._canned:
            if not path.exists():
                self._film(stand_in(None, CANNED), path, CANNED_SIZE, CANNED_FRAMES, CANNED)
        return path

    def _film(self, picture: Image.Image, path: Path, size: tuple[int, int], frames: int, seed: str) -> None:
        write_video(picture, path, size=size, frames=frames, seed=seed, stopped=self._stopped.is_set)

    def _over(self, job: Job) -> None:
        self.files.save(job)
        self.files.drop_upload(job.request_id)
        self._retire(job)

    def _retire(self, job: Job) -> None:
        """Adds a finished job to the kept ones, and deletes the oldest beyond the limits."""
        self._finished.append(job.request_id)
        if job.state is State.SUCCEEDED and "canned" not in job.directives:
            self._with_file.append(job.request_id)
        while len(self._with_file) > self._options.keep_files:
            if (oldest := self.book.jobs.get(self._with_file.popleft())) is not None:
                self.files.drop_file(oldest)
        while len(self._finished) > self._options.keep_jobs:
            request_id = self._finished.popleft()
            if (oldest := self.book.jobs.get(request_id)) is not None:
                self.files.drop_file(oldest)
            self.files.drop_record(request_id)
            self.book.forget(request_id)
