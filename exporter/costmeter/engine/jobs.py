"""Regular work: one job at a time, caught up after downtime, visible, runnable by hand."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from costmeter.analysis.anomaly.run import DetectionError
from costmeter.analysis.forecast import WorkerError
from costmeter.clock import Clock
from costmeter.engine.schedule import Every, Schedule
from costmeter.ledger.door import Busy, Unavailable
from costmeter.ledger.jobstate import JobState, Request
from costmeter.ledger.store import LedgerError
from costmeter.tally import Tally

_log = logging.getLogger("costmeter.jobs")

#: Jobs that run more often than this do not write down each success.
_REMEMBERED_FROM_SECONDS = 60
_TICK_SECONDS = 0.25
_RETRY_SECONDS = 60
#: A shutdown waits so long for what runs beside the jobs.
_LAST_SECONDS = 5


#: What a log line tells whole; anything else comes with its traceback.
_EXPECTED = Busy | Unavailable | LedgerError | WorkerError | DetectionError


class Job(Struct, frozen=True):
    """`work` returns one line that says what was done, or "" when there was nothing."""

    name: str
    schedule: Schedule
    work: Callable[[], str]
    about: str = ""
    beside: bool = False
    """It takes long: while the runner runs it has a thread of its own, and no job waits."""
    retry_seconds: int = _RETRY_SECONDS

    @property
    def remembered(self) -> bool:
        every = self.schedule
        return not isinstance(every, Every) or every.seconds >= _REMEMBERED_FROM_SECONDS


class JobRunner:
    """Runs what is due, in the order of the list, in a thread from `start` to `stop`."""

    def __init__(
        self,
        jobs: Sequence[Job],
        state: JobState,
        clock: Clock,
        tally: Tally,
        elsewhere: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """`elsewhere` runs what is asked for by name and is no regular job, else gives None."""
        self._elsewhere = elsewhere
        self._jobs = {job.name: job for job in jobs}
        self._state = state
        self._clock = clock
        self._tally = tally
        self._last: dict[str, int | None] = {}
        self._failing: dict[str, int] = {}
        self._beside: dict[str, threading.Thread] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="jobs", daemon=True)

    def start(self) -> None:
        self.remember()
        self._thread.start()

    def remember(self) -> None:
        """Read from the ledger when each job last succeeded."""
        for job in self._jobs.values():
            self._last[job.name] = self._state.last_success(job.name) if job.remembered else None

    def stop(self) -> None:
        """The job that is running ends first."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        for thread in self._beside.values():
            thread.join(_LAST_SECONDS)

    def run_due(self) -> None:
        """One pass: what is due now, and what somebody asked for."""
        for job in self._jobs.values():
            if self._stopping.is_set():
                return
            if job.schedule.due(self._last.get(job.name), self._clock.now_ms()) and self._ready(
                job
            ):
                self._begin(job.name, job, lambda job=job: self.run(job))  # type: ignore[misc]
        # Last: an answer that cannot be written must not keep regular work from its turn.
        for request in self._state.requests():
            self._begin(
                request.name,
                self._jobs.get(request.name),
                lambda request=request: self._answer(request),  # type: ignore[misc]
            )

    def _begin(self, name: str, job: Job | None, work: Callable[[], object]) -> None:
        """Do it now; what runs beside the jobs in a thread, unless it is being done."""
        if job is None or not job.beside or threading.current_thread() is not self._thread:
            work()
            return
        running = self._beside.get(name)
        if running is None or not running.is_alive():
            thread = threading.Thread(target=self._safely, args=(work,), name=name, daemon=True)
            self._beside[name] = thread
            thread.start()

    def _safely(self, work: Callable[[], object]) -> None:
        try:
            work()
        except (Busy, Unavailable, LedgerError, sqlite3.Error) as error:
            # Only an answer to somebody: the job itself never raises.
            if not self._stopping.is_set():
                _log.error("a job's answer cannot be written: %s", error)

    def _answer(self, request: Request) -> None:
        self._state.answered(request, self.run_named(request.name))

    def run_named(self, name: str) -> str:
        """Run a job by its name; what it says."""
        job = self._jobs.get(name)
        if job is None:
            said = self._elsewhere(name)
            return said or f"there is no job {name!r}; choose from {', '.join(self._jobs)}"
        return self.run(job)

    def run(self, job: Job) -> str:
        """Run one job now; what it says, or why it failed. Never raises."""
        started = time.perf_counter()
        now_ms = self._clock.now_ms()
        try:
            said = job.work()
            self._last[job.name] = now_ms
            if job.remembered:
                self._state.succeeded(job.name, now_ms)
        except Exception as error:  # noqa: BLE001 - one job never stops the others
            self._tally.add("costmeter_job_failures_total", job.name)
            if job.name not in self._failing and not (job.beside and self._stopping.is_set()):
                expected = isinstance(error, _EXPECTED)
                _log.error("job %s failed: %s", job.name, error, exc_info=not expected)
            self._failing[job.name] = self._clock.monotonic_ms()
            return f"failed: {error}"
        self._failing.pop(job.name, None)
        self._tally.set("costmeter_job_last_success_timestamp_seconds", job.name, to=now_ms / 1000)
        duration = time.perf_counter() - started
        self._tally.set("costmeter_job_duration_seconds", job.name, to=duration)
        if said:
            _log.info("job %s: %s", job.name, said)
        return said or "done"

    def _ready(self, job: Job) -> bool:
        """A rare job that failed is tried again after a minute, a frequent one in its turn."""
        failed_ms = self._failing.get(job.name)
        if failed_ms is None:
            return True
        retry_ms = job.retry_seconds * 1_000
        every = job.schedule.seconds * 1_000 if isinstance(job.schedule, Every) else retry_ms
        return self._clock.monotonic_ms() - failed_ms >= min(every, retry_ms)

    def _loop(self) -> None:
        problem = ""
        while not self._stopping.wait(_TICK_SECONDS):
            try:
                self.run_due()
                problem = ""
            except Exception as error:  # noqa: BLE001 - the next pass may work
                if str(error) != problem:
                    _log.error("looking for due jobs failed: %s", error)
                    problem = str(error)
