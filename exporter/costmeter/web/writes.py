"""The two routes that write: usage events and corrections of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import TypeVar

from costmeter.clock import Clock
from costmeter.ingest.answer import Outcome, outcome
from costmeter.ingest.corrections import CorrectionReader
from costmeter.ingest.events import Batch, EventReader
from costmeter.ingest.owner import Caller
from costmeter.ingest.refusal import TooLarge, Unreadable
from costmeter.ingest.window import Window
from costmeter.ledger.door import Busy, Door, Unavailable, Verdict
from costmeter.model import Correction, Usage
from costmeter.tally import Tally
from costmeter.web.exchange import JSON, Problem, Request, Response
from costmeter.web.intake import Budget, Intake, crowded, is_lines, read_body

Item = TypeVar("Item", Usage, Correction)

#: Bodies from this size on are parsed in a thread, so that scrapes go on meanwhile.
THREAD_BYTES = 256 * 1024
#: A commit takes milliseconds; after this long something is wrong with the disk.
COMMIT_SECONDS = 60
_DISK_RETRY_SECONDS = 10
#: Why a whole body was refused, as the metrics count it.
_BODY_CODES = {400: "unreadable", 408: "incomplete", 413: "too_large", 415: "unsupported"}


class Writes:
    """Reads a body, hands it to the ledger, and answers after the commit.

    `door` is None on a replica that only reads.
    """

    def __init__(
        self,
        *,
        door: Door | None,
        clock: Clock,
        tally: Tally,
        window: Window,
        intake: Intake,
        max_events: int,
    ) -> None:
        self._door = door
        self._clock = clock
        self._tally = tally
        self._intake = intake
        self._budget = Budget(intake)
        self._events = EventReader(window, max_events)
        self._corrections = CorrectionReader(max_events)

    async def usage(self, request: Request, caller: Caller) -> Response:
        door = self._open_door()
        now_ms = self._clock.now_ms()

        def read(body: bytes, lines: bool) -> Batch[Usage]:
            return self._events.read(body, caller, now_ms, lines=lines)

        return await self._take(
            request, caller, read, door.submit, "costmeter_events_accepted_total"
        )

    async def corrections(self, request: Request, caller: Caller) -> Response:
        door = self._open_door()

        def read(body: bytes, lines: bool) -> Batch[Correction]:
            return self._corrections.read(body, caller, lines=lines)

        return await self._take(
            request, caller, read, door.correct, "costmeter_events_corrected_total"
        )

    def _open_door(self) -> Door:
        if self._door is None:
            raise _unavailable("this server only reads the ledger; send to the one that writes it")
        return self._door

    async def take_usage(
        self,
        request: Request,
        caller: Caller,
        read: Callable[[bytes, bool], Batch[Usage]],
        form: Callable[[Request], bool],
    ) -> Outcome:
        """Book what `read` makes of the body; `form` looks at the content type for it.

        Raises Problem.
        """
        submit = self._open_door().submit
        return await self._outcome(
            request, caller, read, submit, "costmeter_events_accepted_total", form
        )

    async def _take(
        self,
        request: Request,
        caller: Caller,
        read: Callable[[bytes, bool], Batch[Item]],
        submit: Callable[[Sequence[Item]], Future[Sequence[Verdict]]],
        booked: str,
    ) -> Response:
        found = await self._outcome(request, caller, read, submit, booked, is_lines)
        return Response(200, found.json(), JSON)

    async def _outcome(
        self,
        request: Request,
        caller: Caller,
        read: Callable[[bytes, bool], Batch[Item]],
        submit: Callable[[Sequence[Item]], Future[Sequence[Verdict]]],
        booked: str,
        form: Callable[[Request], bool],
    ) -> Outcome:
        try:
            lines = form(request)
            with self._budget.hold() as hold:
                body = await read_body(request, hold, self._intake)
                if len(body) < THREAD_BYTES:
                    batch = read(body, lines)
                else:
                    batch = await asyncio.to_thread(read, body, lines)
                verdicts = await _booked(submit(batch.items)) if batch.items else ()
        except Problem as problem:
            self._count_body(caller, problem.status)
            raise
        except Unreadable as error:
            self._count_body(caller, 400)
            raise Problem(400, error.reason, line=error.line, byte=error.byte) from None
        except TooLarge as error:
            self._count_body(caller, 413)
            raise Problem(413, str(error)) from None
        except Busy as busy:
            raise crowded("the ledger is busy", busy.retry_after_seconds) from None
        except Unavailable as error:
            raise _unavailable(str(error)) from None
        found = outcome(batch, verdicts)
        self._count(caller, found, booked)
        return found

    def _count_body(self, caller: Caller, status: int) -> None:
        """A refused body counts as one refused event: nobody knows how many it held."""
        if status in _BODY_CODES:
            self._tally.add("costmeter_events_rejected_total", caller.feed, _BODY_CODES[status])

    def _count(self, caller: Caller, found: Outcome, booked: str) -> None:
        if found.accepted:
            self._tally.add(booked, caller.feed, by=found.accepted)
        if found.duplicate:
            self._tally.add("costmeter_events_duplicate_total", caller.feed, by=found.duplicate)
        for rejection in found.rejections:
            self._tally.add("costmeter_events_rejected_total", caller.feed, rejection.code)


def _unavailable(why: str) -> Problem:
    return Problem(503, why, headers=(("retry-after", str(_DISK_RETRY_SECONDS)),))


async def _booked(future: Future[Sequence[Verdict]]) -> Sequence[Verdict]:
    """The verdicts, once the batch is durable.

    Unlike asyncio.wrap_future this never cancels what the ledger is writing: a request may
    be given up, its commit may not.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    def wake(_: object) -> None:
        try:
            loop.call_soon_threadsafe(finish)
        except RuntimeError:  # the server has stopped; nobody waits any more
            return

    future.add_done_callback(wake)
    try:
        async with asyncio.timeout(COMMIT_SECONDS):
            await done
    except TimeoutError:
        raise _unavailable(
            "the ledger did not answer, so it is not known whether this was booked; "
            "send it again, what was booked is recognised"
        ) from None
    try:
        return future.result()
    except CancelledError:
        raise Unavailable("the ledger is closing; nothing of this was booked") from None
