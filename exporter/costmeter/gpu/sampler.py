"""Asks every GPU once a second, away from the scrape.

A scrape reads the last immutable state: it takes no lock and never waits for a driver.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

from costmeter.clock import Clock
from costmeter.gpu.backoff import Backoff, Notices
from costmeter.gpu.caller import Caller, await_answer
from costmeter.gpu.nvml import GpuLost, NvmlProblem, Session, open_session
from costmeter.gpu.readings import GpuReading, GpuState, Round
from costmeter.gpu.track import Track, state_of
from costmeter.gpu.watched import Answer, Survey, Watched, read, reopen, survey

log = logging.getLogger("costmeter.gpu")

#: Between two tries to open NVML: doubling from the first to the last.
FIRST_RETRY_MS = 1_000
LAST_RETRY_MS = 60_000

#: A GPU that is asked after one that hangs still gets this long to answer.
LEAST_WAIT_SECONDS = 0.02

#: What a machine without a GPU says; no reason to warn anybody.
_HARMLESS = frozenset({"library_not_found", "no_gpu"})


@dataclass(slots=True)
class _Pass:
    """What one tick collects."""

    readings: list[GpuReading] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class Sampler:
    """Owns NVML. `tick` is one pass; `start` runs it every `interval_seconds`.

    A GPU that is silent for `stale_after_seconds` counts as lost and is absent from the
    state. `call_timeout_seconds` is how long one pass waits for slow calls altogether.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        interval_seconds: float = 1.0,
        stale_after_seconds: float = 10.0,
        call_timeout_seconds: float = 2.0,
        opener: Callable[[], Session] = open_session,
    ) -> None:
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._stale_after_ms = round(1000 * stale_after_seconds)
        self._call_timeout_seconds = call_timeout_seconds
        self._opener = opener
        self._caller = Caller("costmeter-nvml")
        self._listeners: list[Callable[[Round], None]] = []
        self._session: Session | None = None
        self._opening: Future[Session] | None = None
        self._opening_since_ms = 0
        self._watched: list[Watched] = []
        self._survey: Future[Survey] | None = None
        self._counted = 0
        self._tracks: dict[str, Track] = {}
        self._problem: str | None = None
        self._notices = Notices(log)
        self._retry = Backoff(FIRST_RETRY_MS, LAST_RETRY_MS)
        self._complete: tuple[int, int] | None = None
        self._state: GpuState | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def subscribe(self, listener: Callable[[Round], None]) -> None:
        """Have every pass handed on, in the sampler's thread; call it before `start`."""
        self._listeners.append(listener)

    def state(self) -> GpuState | None:
        """What is known now; None before the first pass. Takes no lock, never waits."""
        state = self._state
        if state is None:
            return None
        return state.seen_at(self._clock.monotonic_ms(), self._stale_after_ms)

    @property
    def session(self) -> Session | None:
        """The open session, for those who measure it."""
        return self._session

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="costmeter-gpu", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and give NVML back, unless a call hangs in it."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2 * self._call_timeout_seconds + 1)
            if self._thread.is_alive():
                return
        if self._session is not None and self._opening is None and not self._call_hangs():
            await_answer(self._caller.submit(self._session.close), self._call_timeout_seconds)
            self._session = None
        self._caller.close()

    def tick(self) -> None:
        """One pass: open NVML where that is due, then ask every GPU that answers."""
        found = _Pass()
        if self._opening is not None or self._open_is_due():
            self._open(found)
        if self._session is not None and self._opening is None:
            self._ask_all(self._session, found)
        self._publish()
        for listener in self._listeners:
            try:
                listener(Round(tuple(found.readings), tuple(found.lost)))
            except Exception:
                log.exception("a consumer of GPU readings failed; sampling goes on")

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                self.tick()
            except Exception:
                log.exception("a GPU sample failed; the next is taken as usual")
            due = max(due + self._interval_seconds, time.monotonic())
            self._stop.wait(due - time.monotonic())

    def _open_is_due(self) -> bool:
        wanted = (
            self._session is None
            or bool(self._session.unreadable)
            or any(watched.lost for watched in self._watched)
            or len(self._watched) < len(self._tracks)
            or self._counted > len(self._watched)
        )
        # A call in flight would lose the library under its feet.
        return wanted and self._retry.due(self._clock.monotonic_ms()) and not self._call_hangs()

    def _call_hangs(self) -> bool:
        surveying = self._survey is not None and not self._survey.done()
        return surveying or any(watched.hangs() for watched in self._watched)

    def _open(self, found: _Pass) -> None:
        if self._opening is None:
            self._opening_since_ms = self._clock.monotonic_ms()
            self._opening = self._caller.submit(partial(reopen, self._session, self._opener))
            await_answer(self._opening, self._call_timeout_seconds)
        now_ms = self._clock.monotonic_ms()
        if not self._opening.done():
            if now_ms - self._opening_since_ms >= self._stale_after_ms:
                self._give_up(
                    "driver_hangs",
                    "the NVIDIA driver does not answer to its start: try nvidia-smi and look at "
                    "the kernel log (dmesg); there are no GPU figures until it answers",
                    found,
                )
            return
        opening, self._opening, self._session = self._opening, None, None
        self._retry.tried(now_ms)
        try:
            session = opening.result()
        except NvmlProblem as problem:
            self._give_up(problem.kind, str(problem), found)
        except Exception as error:  # noqa: BLE001 - a strange driver must not end the sampling
            self._give_up("unexpected", f"NVML cannot be used ({error!r})", found)
        else:
            self._begin(session, found)

    def _begin(self, session: Session, found: _Pass) -> None:
        self._session = session
        self._watched = []
        self._survey = None
        self._counted = 0
        for device in session.devices:
            track = self._tracks.get(device.uuid)
            if track is None:
                track = self._tracks[device.uuid] = Track(device.uuid, self._stale_after_ms)
            self._watched.append(Watched(device, track))
            if device.uuid in session.reporting:
                track.report(0)
        missing = self._tracks.keys() - {device.uuid for device in session.devices}
        for uuid in missing:
            self._lose(self._tracks[uuid], "the driver no longer lists it", found)
        if not self._notices.was_said("found"):
            self._notices.forget_all()
        if len(session.unreadable) > len(missing):
            for text in session.unreadable:
                self._notices.say(text, f"{text}. It is tried again")
        self._problem = None if session.devices else "; ".join(session.unreadable)
        self._notices.say(
            "found",
            f"GPUs found: {len(session.devices)}, NVIDIA driver {session.driver_version}",
            logging.INFO,
        )

    def _ask_all(self, session: Session, found: _Pass) -> None:
        until = time.monotonic() + self._call_timeout_seconds
        for watched in self._watched:
            if watched.hangs():
                if self._clock.monotonic_ms() - watched.asked_ms >= self._stale_after_ms:
                    self._lose(watched.track, "the driver does not answer for it", found)
                continue
            if watched.pending is not None:
                self._take(watched, watched.pending, found)  # a late answer, with its own time
            if watched.lost:
                continue
            watched.asked_ms = self._clock.monotonic_ms()
            watched.pending = self._caller.submit(
                partial(read, session, watched.device, self._clock)
            )
            await_answer(watched.pending, max(LEAST_WAIT_SECONDS, until - time.monotonic()))
            if watched.pending.done():
                self._take(watched, watched.pending, found)
        self._look_around(session, until, found)
        if found.readings and not self._call_hangs():
            self._complete = (self._clock.now_ms(), self._clock.monotonic_ms())

    def _look_around(self, session: Session, until: float, found: _Pass) -> None:
        """What concerns no GPU alone: errors that the driver reports, and how many GPUs it has."""
        if self._session is not session or self._problem is not None:
            return
        if self._survey is None:
            self._survey = self._caller.submit(partial(survey, session))
            await_answer(self._survey, max(LEAST_WAIT_SECONDS, until - time.monotonic()))
        if not self._survey.done():
            return
        done, self._survey = self._survey, None
        try:
            seen = done.result()
        except NvmlProblem as problem:
            self._give_up(problem.kind, str(problem), found)
        except Exception as error:  # noqa: BLE001 - the GPUs themselves answer
            self._notices.say("survey", f"Xid errors cannot be read ({error!r})")
        else:
            self._counted = seen.listed
            for uuid, xid in seen.xids:
                track = self._tracks[uuid]
                track.report(xid)
                self._notices.say(
                    f"{uuid} xid {xid}", f"the driver reports an error of GPU {uuid}: Xid {xid}"
                )

    def _take(self, watched: Watched, answer: Future[Answer], found: _Pass) -> None:
        watched.pending = None
        device, track = watched.device, watched.track
        try:
            raw, taken_at_ms, monotonic_ms = answer.result()
        except NvmlProblem as problem:
            self._give_up(problem.kind, str(problem), found)
        except GpuLost as lost:
            watched.lost = True
            self._lose(track, str(lost), found)
        except Exception as error:  # noqa: BLE001 - one strange GPU must not hide the others
            watched.lost = True
            self._lose(track, f"NVML cannot be used for it ({error!r})", found)
        else:
            if track.lost:
                self._notices.forget(track.uuid)
                log.info("GPU %s (%s) answers again", device.index, track.uuid)
            found.readings.append(
                track.take(device.index, device.name, raw, taken_at_ms, monotonic_ms)
            )

    def _lose(self, track: Track, why: str, found: _Pass) -> None:
        if track.lose():
            found.lost.append(track.uuid)
            if why:
                self._notices.say(
                    track.uuid,
                    f"GPU {track.uuid} stopped answering: {why}. Its figures are absent until "
                    "it answers again, which is tried",
                )

    def _give_up(self, kind: str, text: str, found: _Pass) -> None:
        """Nothing can be read: no GPU has figures until a session opens."""
        for watched in self._watched:
            watched.lost = True
        for track in self._tracks.values():
            self._lose(track, "", found)
        self._problem = text
        self._notices.forget("found")
        level = logging.INFO if kind in _HARMLESS and not self._tracks else logging.WARNING
        self._notices.say(kind, f"no GPU figures: {text}. It is tried again", level)

    def _publish(self) -> None:
        self._state = state_of(self._tracks.values(), self._problem, self._complete)
