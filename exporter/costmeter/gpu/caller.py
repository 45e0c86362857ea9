"""Calls that may never come back, each in a thread that nobody has to wait for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")
_Inbox = SimpleQueue[tuple[Callable[[], Any], "Future[Any]"] | None]


def await_answer(answer: Future[Any], seconds: float) -> None:
    """Wait until it is there, or so long; what it raised stays in it."""
    # concurrent.futures.wait() makes an event and a lock for each call.
    with suppress(TimeoutError):
        answer.exception(seconds)


class Caller:
    """Runs calls in daemon threads: one in ordinary times, one more for each hung call.

    The pool of the standard library joins its threads at exit, so one hung driver call
    would keep the process from ending. `submit` and `close` are for one thread only.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle: deque[_Inbox] = deque()
        self._closed = False

    def submit(self, call: Callable[[], _T]) -> Future[_T]:
        """Start the call; its result, or what it raised, comes in the future."""
        future: Future[_T] = Future()
        inbox = self._idle.pop() if self._idle else self._start()
        inbox.put((call, future))
        return future

    def close(self) -> None:
        """End the idle threads; a hung one ends when its call does, or with the process."""
        self._closed = True
        while self._idle:
            self._idle.pop().put(None)

    def _start(self) -> _Inbox:
        inbox: _Inbox = SimpleQueue()
        threading.Thread(target=self._work, args=(inbox,), name=self._name, daemon=True).start()
        return inbox

    def _work(self, inbox: _Inbox) -> None:
        while (job := inbox.get()) is not None:
            call, future = job
            try:
                result = call()
            except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
                self._idle.append(inbox)
                future.set_exception(error)
            else:
                # Idle before the answer: the next call then finds this thread.
                self._idle.append(inbox)
                future.set_result(result)
            if self._closed:
                return
