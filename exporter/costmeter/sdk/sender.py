"""The thread that talks to the server: batches, tries again, and settles each event once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple

from costmeter.sdk.counts import Books
from costmeter.sdk.event import Line
from costmeter.sdk.notices import Notices
from costmeter.sdk.outbox import Outbox
from costmeter.sdk.settings import Settings
from costmeter.sdk.spool import Spool
from costmeter.sdk.transport import FAILURES, Answer, Transport, pack
from costmeter.sdk.verdict import advice, read_verdict, said

BATCH_EVENTS = 500
_FIRST_BACKOFF_SECONDS = 0.5
#: What the server calls retriable comes from a clock that runs ahead: it takes a while.
_LATER_SECONDS = 30.0
#: How often to look for events that ended processes left in the spool.
_ADOPT_SECONDS = 60.0
#: A token may be replaced and a route repaired, so refusals as a whole are tried this often.
_REFUSALS = 3
#: Tried again as long as there is room: the server, or what stands before it, is in trouble.
_TROUBLE = frozenset({408, 425, 429})
#: The address or the credential is wrong, not the batch.
_WRONG_DOOR = frozenset({401, 403, 404, 405, 407})


class Batch(NamedTuple):
    lines: Sequence[Line]
    on_disk: bool


class Sender:
    """`run` until `stop`; everything else is called by other threads."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        spool: Spool | None,
        books: Books,
        notices: Notices,
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._spool = spool
        self._books = books
        self._notices = notices
        self._transport = Transport(settings)
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._most = BATCH_EVENTS
        self._disk_turn = False
        self._failures = 0
        self._refusals = 0
        self._not_before = 0.0
        self._asked_to_wait_until = 0.0
        self._adopted_at = float("-inf")
        #: What ended processes left in the spool has been looked for.
        self.looked = spool is None
        self._stop_at: float | None = None
        #: The last try failed: new events go to the disk, where there is one.
        self.away = False

    def ring(self) -> None:
        """There is something to send."""
        self._bell.put(None)

    def hurry(self) -> None:
        """Do not wait for the end of a back-off, unless the server asked for it."""
        self._not_before = 0.0
        self._bell.put(None)

    def stop(self, deadline: float) -> None:
        """Deliver what waits until the deadline (monotonic seconds), then end."""
        self._stop_at = deadline
        self.hurry()

    def run(self, gathered: Callable[[], bool]) -> None:
        """Send until stopped. `gathered` says that nothing more will come into the outbox."""
        while not self._ended(gathered):
            if self._spool is not None and self._now() - self._adopted_at >= _ADOPT_SECONDS:
                self._adopted_at = self._now()
                self._spool.adopt()
                self.looked = True
            wait = max(self._not_before, self._asked_to_wait_until) - self._now()
            if wait > 0:
                self._rest(wait)
                continue
            batch = self._next()
            if batch is not None:
                self._deliver(batch)
            elif self._stop_at is None:
                self._rest(min(_ADOPT_SECONDS, self._outbox.due_in() or _ADOPT_SECONDS))
            else:
                self._rest(0.02)
        self._transport.close()

    def _ended(self, gathered: Callable[[], bool]) -> bool:
        if self._stop_at is None:
            return False
        if self._now() >= self._stop_at:
            return True
        if not gathered():
            return False
        if self._asked_to_wait_until >= self._stop_at:
            return True
        if self._outbox.ready:
            return False
        due = self._outbox.due_in()
        if due is not None:
            # Nothing but events that must wait longer than there is time.
            return self._now() + due >= self._stop_at
        on_disk = self._spool.events if self._spool is not None else 0
        # What is safe on the disk need not hold up the end of a program.
        return not len(self._outbox) and (not on_disk or self.away)

    def _rest(self, seconds: float) -> None:
        if self._stop_at is not None:
            seconds = min(seconds, max(0.0, self._stop_at - self._now()))
        try:
            self._bell.get(timeout=seconds)
            while True:
                self._bell.get_nowait()
        except Empty:
            return

    def _next(self) -> Batch | None:
        """Memory and disk by turns, so that neither waits for the other to be empty."""
        self._disk_turn = not self._disk_turn
        for on_disk in (self._disk_turn, not self._disk_turn):
            if on_disk and self._spool is not None:
                lines = self._spool.lease(self._most, time.time() * 1000)
            elif on_disk:
                continue
            else:
                lines = self._outbox.start(self._most)
            if lines:
                return Batch(lines, on_disk)
        return None

    def _deliver(self, batch: Batch) -> None:
        seconds = self._settings.timeout_seconds
        if self._stop_at is not None:
            seconds = max(0.05, min(seconds, self._stop_at - self._now()))
        try:
            answer = self._transport.post(pack(batch.lines), self._token(), seconds)
            self._books.sent(len(batch.lines))
            self._judge(batch, answer)
        except Exception as error:  # noqa: BLE001 - this thread has to go on, whatever it was
            # Errors other than these may quote a header, and so the token.
            why = error if isinstance(error, FAILURES) else type(error).__name__
            self._notices.say("away", "%s cannot be reached (%s); events wait", self._where, why)
            self._again(batch, None)

    def _judge(self, batch: Batch, answer: Answer) -> None:
        status = answer.status
        if status == 200:
            self._taken(batch, answer)
        elif status == 413 and len(batch.lines) > 1:
            self._most = len(batch.lines) // 2
            self._put_back(batch)
            self._books.retry()
        elif status >= 500 or status in _TROUBLE:
            self._notices.say(
                "away", "%s answered %d: %s; events wait", self._where, status, said(answer)
            )
            self._again(batch, answer.retry_after)
        elif status in _WRONG_DOOR or status < 400:
            self._turned_away(batch, answer)
        else:
            self._notices.say(
                "refused", "%s refused a body of %d events with %d: %s; they are lost",
                self._where, len(batch.lines), status, said(answer),
            )  # fmt: skip
            self._recovered()
            if self._finish(batch):
                self._books.reject(f"http {status}", len(batch.lines))

    def _taken(self, batch: Batch, answer: Answer) -> None:
        verdict = read_verdict(answer.body, len(batch.lines))
        if verdict is None:
            self._turned_away(batch, answer)
            return
        self._recovered()
        self._most = min(BATCH_EVENTS, self._most + self._most // 10 + 1)
        later = [batch.lines[index] for index in verdict.later]
        # What must wait leaves the batch for a place of its own, and counts when it is settled.
        if not self._finish(batch):
            return
        self._books.answered(verdict.accepted, verdict.duplicate, verdict.observed)
        for field, reason in verdict.refused:
            self._books.reject(field)
            self._notices.say(
                f"rejected {field}", "the server refused an event: %s: %s", field, reason
            )
        if later:
            pause = min(_LATER_SECONDS, self._settings.max_backoff_seconds)
            lost = self._outbox.postpone(later, pause)
            if lost:
                self._books.drop("queue_full", len(lost))

    def _recovered(self) -> None:
        self.away = False
        self._failures = self._refusals = 0
        self._notices.over("away", "%s takes events again", self._where)
        self._notices.over("door", "%s takes events again", self._where)

    def _turned_away(self, batch: Batch, answer: Answer) -> None:
        """The address or the token is wrong: tried a few times, kept only on the disk."""
        self._refusals += 1
        self._notices.say("door", "%s: %s", self._where, advice(answer))
        if self._spool is None and self._refusals >= _REFUSALS:
            if self._outbox.finish(batch.lines):
                self._books.reject(f"http {answer.status}", len(batch.lines))
            self._back_off(answer.retry_after)
        else:
            self._again(batch, answer.retry_after)

    def _again(self, batch: Batch, retry_after: float | None) -> None:
        """Keep the batch, under the same ids and times, and wait."""
        self._books.retry()
        self.away = True
        self._put_back(batch)
        self._back_off(retry_after)

    def _put_back(self, batch: Batch) -> None:
        if batch.on_disk:
            return
        if self._spool is None or not self.away:
            self._outbox.finish(batch.lines, again=batch.lines)
            return
        # While the server is away a kill must cost nothing: all that waits goes to the disk.
        if self._outbox.finish(batch.lines):
            rest = self._spool.append(batch.lines)
            while not rest and (more := self._outbox.start(BATCH_EVENTS)):
                rest = self._spool.append(more)
                self._outbox.finish(more)
            self._outbox.restore(rest)

    def _finish(self, batch: Batch) -> bool:
        if batch.on_disk:
            return self._spool is not None and self._spool.done(len(batch.lines))
        return self._outbox.finish(batch.lines)

    def _back_off(self, retry_after: float | None) -> None:
        """Exponential with jitter, so that a thousand processes do not come back at once."""
        most = self._settings.max_backoff_seconds
        pause = min(most, _FIRST_BACKOFF_SECONDS * 2 ** min(self._failures, 20))
        self._failures += 1
        self._not_before = self._now() + pause * random.uniform(0.5, 1.0)  # noqa: S311
        if retry_after is not None:
            self._asked_to_wait_until = self._now() + retry_after * random.uniform(1.0, 1.1)  # noqa: S311

    def _token(self) -> str | None:
        try:
            token = self._settings.read_token()
        except OSError as error:
            self._notices.say("token", "the token file cannot be read: %s", error)
            return None
        except UnicodeDecodeError:
            pass
        else:
            if token is None or (token.isascii() and token.isprintable()):
                return token
        self._notices.say("token", "the token holds characters that no header can carry")
        return None

    def forget(self) -> None:
        """In a forked child: the connection is the parent's."""
        self._transport.forget()

    @property
    def _where(self) -> str:
        return self._settings.url

    @staticmethod
    def _now() -> float:
        return time.monotonic()
