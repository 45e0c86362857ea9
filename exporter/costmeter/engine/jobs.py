"""Regular work: one job at a time, caught up after downtime, visible, runnable by hand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from costmeter.clock import Clock
from costmeter.engine.schedule import Every, Schedule
from costmeter.ledger.door import Busy, Unavailable
from costmeter.ledger.jobstate import JobState
from costmeter.ledger.store import LedgerError
from costmeter.tally import Tally

_log = logging.getLogger("costmeter.jobs")

#: Jobs that run more often than this do not write down each success.
_REMEMBERED_FROM_SECONDS = 60
_TICK_SECONDS = 0.25
_RETRY_MS = 60_000


@dataclass(frozen=True, slots=True)
class Job:
    """`work` returns one line that says what was done, or "" when there was nothing."""

    name: str
    schedule: Schedule
    work: Callable[[], str]
    about: str = ""

    @property
    def remembered(self) -> bool:
        every = self.schedule
        return not isinstance(every, Every) or every.seconds >= _REMEMBERED_FROM_SECONDS


class JobRunner:
    """Runs what is due, in the order of the list, in a thread from `start` to `stop`."""

    def __init__(self, jobs: Sequence[Job], state: JobState, clock: Clock, tally: Tally) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._state = state
        self._clock = clock
        self._tally = tally
        self._last: dict[str, int | None] = {}
        self._failing: dict[str, int] = {}
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

    def run_due(self) -> None:
        """One pass: what is due now, and what somebody asked for."""
        for job in self._jobs.values():
            if self._stopping.is_set():
                return
            if job.schedule.due(self._last.get(job.name), self._clock.now_ms()) and self._ready(
                job
            ):
                self.run(job)
        # Last: an answer that cannot be written must not keep regular work from its turn.
        for request in self._state.requests():
            self._state.answered(request, self.run_named(request.name))

    def run_named(self, name: str) -> str:
        """Run a job by its name; what it says."""
        job = self._jobs.get(name)
        if job is None:
            return f"there is no job {name!r}; choose from {', '.join(self._jobs)}"
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
            if job.name not in self._failing:
                expected = isinstance(error, Busy | Unavailable | LedgerError)
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
        every = job.schedule.seconds * 1_000 if isinstance(job.schedule, Every) else _RETRY_MS
        return self._clock.monotonic_ms() - failed_ms >= min(every, _RETRY_MS)

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
