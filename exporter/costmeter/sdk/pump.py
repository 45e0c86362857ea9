"""Everything behind a meter in one process: the queue, two threads, and their end.

One thread turns what was tracked into lines, so that the queue stays short even while the
other waits for the network. Both start with the first event; a fork gets new ones.
"""

from __future__ import annotations

import atexit
import contextlib
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from costmeter.sdk.counts import Books, Stats
from costmeter.sdk.event import Invalid, Line, Raw, encode
from costmeter.sdk.notices import Notices
from costmeter.sdk.outbox import Outbox
from costmeter.sdk.segments import holds_segments
from costmeter.sdk.sender import BATCH_EVENTS, Sender
from costmeter.sdk.settings import Settings
from costmeter.sdk.spool import Spool

#: No queue is that long: nobody is woken.
_NEVER = sys.maxsize
#: Encoded in one go, about half a millisecond; then other threads get their turn.
_CHUNK = 64
#: A slice that takes so long waits for something that may never come.
_STUCK_SECONDS = 0.5
_MS_PER_DAY = 86_400_000
#: Pumps with something to deliver when the program ends.
_LIVE: set[Pump] = set()


class Pump:
    """`queue` takes raw events from any thread; `wake_at` is how many must wait to wake us."""

    def __init__(self, settings: Settings, *, forked: bool = False) -> None:
        self._settings = settings
        self.queue: deque[Raw] = deque()
        self.wake_at = 0
        self.closing = False
        self.exit_seconds = settings.exit_seconds
        self.books = Books()
        self.notices = Notices()
        #: So many wait for nobody: a batch, or half of a short queue.
        self._enough = max(1, min(BATCH_EVENTS, settings.queue_events // 2))
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._outbox = Outbox(settings.queue_events)
        self._spool = None if settings.spool is None else Spool(
            settings.spool, settings.spool_bytes, settings.max_age_days * _MS_PER_DAY,
            self.books, self.notices,
        )  # fmt: skip
        self._sender = Sender(settings, self._outbox, self._spool, self.books, self.notices)
        self._gathered = False
        #: One thread gathers; at the end, the one that closes helps it.
        self._gathering = threading.Lock()
        self._threads: tuple[threading.Thread, ...] = ()
        self._made: tuple[threading.Thread, ...] = ()
        self._starting = threading.RLock()
        # Unique among all processes of a week: 80 random bits.
        self._prefix = secrets.token_hex(10)
        self._number = 0
        # A forked child starts threads when it tracks: perhaps it only becomes another program.
        if not forked and settings.spool is not None and holds_segments(settings.spool):
            self.wake()

    def wake(self) -> None:
        """Called by the thread that tracks: there is work. Never raises."""
        self.wake_at = _NEVER
        if not self._threads and not self._start():
            self.wake_at = len(self.queue) + self._enough  # then it is worth another try
        self._bell.put(None)

    def turn_away(self, waiting: int) -> None:
        """Count an event that cannot be taken."""
        if self.closing:
            self.books.refuse("closed")
            self.notices.say("closed", "an event was tracked after close() and dropped")
            return
        self.books.refuse("queue_full")
        self._say_full(waiting)
        if waiting >= self.wake_at:
            self.wake()

    def stats(self) -> Stats:
        return self.books.stats(len(self.queue), self._on_disk)

    def flush(self, timeout: float) -> bool:
        ends = time.monotonic() + timeout
        while self._threads and not self._sender.looked and time.monotonic() < ends:
            time.sleep(0.005)
        target, first = self.books.settled + self._waiting, True
        while self._waiting and self.books.settled < target:
            if self.queue:
                self.wake()
            if first:
                self._sender.hurry()
            first = False
            if time.monotonic() >= ends:
                return False
            time.sleep(0.005)
        return True

    def close(self, timeout: float) -> bool:
        """Deliver until the timeout, then put the rest on the disk or count it as lost."""
        if self.closing:
            return not self._waiting
        self.closing = True
        deadline = time.monotonic() + timeout
        self._sender.stop(deadline)
        if self._waiting and not self._threads:
            self._start()
        self._bell.put(None)
        if self._threads:
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()) + 0.05)
        elif self._waiting:
            # No thread can start any more: the interpreter is on its way out.
            self._gather_forever()
            if not any(thread.is_alive() for thread in self._made):
                self._sender.run(lambda: self._gathered)
        self._settle_rest()
        _LIVE.discard(self)
        stats = self.stats()
        return not (stats.queued or stats.spooled or "exit" in stats.dropped)

    def _settle_rest(self) -> None:
        # The other thread may have had no time for all of it, or be stuck for good.
        while self.queue and self._gathering.acquire(timeout=_STUCK_SECONDS):
            try:
                self._gather_some()
            finally:
                self._gathering.release()
        rest: Sequence[Line] = self._outbox.drain()
        if self._spool is not None:
            rest = self._spool.append(rest)
            self._spool.close()
        if rest:
            self.books.drop("exit", len(rest))
            self.notices.say(
                "exit", "%d events could not be delivered before the end and are lost; "
                "spool= would keep them", len(rest),
            )  # fmt: skip

    def forget(self) -> None:
        """In a forked child: what is queued here is the parent's to send."""
        self.closing = True
        self._sender.forget()
        if self._spool is not None:
            self._spool.forget()

    @property
    def _on_disk(self) -> int:
        return self._spool.events if self._spool is not None else 0

    @property
    def _waiting(self) -> int:
        stats = self.stats()
        return stats.queued + stats.spooled

    def _start(self) -> bool:
        """False when there is no thread to be had."""
        with self._starting:
            if self._threads:
                return True
            _LIVE.add(self)
            self._made = self._made or (
                self._thread("send", lambda: self._sender.run(lambda: self._gathered)),
                self._thread("gather", self._gather_forever),
            )
            try:
                for thread in self._made:
                    if thread.ident is None:
                        thread.start()
            except RuntimeError:
                # The interpreter is ending, or the machine has no more of them.
                return False
            self._threads = self._made
            _close_with_worker()
            return True

    @staticmethod
    def _thread(name: str, work: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=work, name=f"costmeter-{name}", daemon=True)

    def _gather_forever(self) -> None:
        while not (self.closing and not self.queue):
            if not self.queue:
                self.wake_at = 0
                # Again, because an event may have come before we said that we sleep.
                if not self.queue and not self.closing:
                    self._bell.get()
            self.wake_at = self._enough
            if len(self.queue) < self._enough and not self.closing:
                with contextlib.suppress(Empty):
                    self._bell.get(timeout=self._settings.linger_seconds)
            self.wake_at = _NEVER
            self._gather()
        self._gathered = True
        self._sender.ring()

    def _gather(self) -> None:
        queue = self.queue
        while queue:
            with self._gathering:
                self._gather_some()
            self._sender.ring()
            time.sleep(0)

    def _gather_some(self) -> None:
        events = min(len(self.queue), _CHUNK)
        self.books.take(events)
        lines = [line for _ in range(events) if (line := self._encode(self.queue.popleft()))]
        self._store(lines)

    def _encode(self, raw: Raw) -> Line | None:
        self._number += 1
        try:
            return encode(raw, f"{self._prefix}-{self._number}", self._settings.defaults)
        except Invalid as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - whatever an application's object does
            why = f"{type(error).__name__}: {error}"
        self.books.drop("invalid")
        self.notices.say(f"invalid {why[:40]}", "an event was dropped: %s", why)
        return None

    def _store(self, lines: Sequence[Line]) -> None:
        """To memory; to the disk while the server is away or memory is half full."""
        spool = self._spool
        if spool is not None and (
            self._sender.away or 2 * len(self._outbox) >= self._outbox.capacity
        ):
            lines = spool.append(lines)
        lines = self._outbox.put(lines)
        if lines and spool is not None:
            lines = spool.append(lines)
        if lines:
            self.books.drop("queue_full", len(lines))
            self._say_full(len(self._outbox))

    def _say_full(self, waiting: int) -> None:
        self.notices.say(
            "queue_full", "%d events wait for %s and new ones are dropped; is it running? "
            "spool= keeps what cannot be delivered", waiting, self._settings.url,
        )  # fmt: skip


def forget_all() -> None:
    """In a forked child, before anything else."""
    while _LIVE:
        _LIVE.pop().forget()


def _close_with_worker() -> None:
    """Processes of multiprocessing end without atexit, and run these instead."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _close_all, exitpriority=10)


def _close_all() -> None:
    """At the end of the program; all meters together take as long as the most patient one."""
    began = time.monotonic()
    for pump in list(_LIVE):
        with contextlib.suppress(Exception):
            pump.close(max(0.1, pump.exit_seconds - (time.monotonic() - began)))


atexit.register(_close_all)
