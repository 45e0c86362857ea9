"""A thread that does its round over and over until it is stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger("costmeter.gpu")


class Worker:
    """`work` does one round and says after how many seconds the next one is due.

    `wake` brings the next round forward. `stop` waits for the round that runs, at most
    `stop_seconds`: what hangs in a system call ends with the process.
    """

    def __init__(self, name: str, work: Callable[[], float], *, stop_seconds: float = 5) -> None:
        self._work = work
        self._stop_seconds = stop_seconds
        self._due = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._due.set()

    def stop_soon(self) -> None:
        """No further round begins; the one that runs goes on."""
        self._stopped.set()
        self._due.set()

    def stop(self) -> None:
        self.stop_soon()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(self._stop_seconds)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._due.clear()
            try:
                seconds = self._work()
            except Exception:
                # A thread that is dead would look like a machine on which nothing changes.
                log.exception("finding the owners of GPUs failed; it is tried again")
                seconds = 10.0
            self._due.wait(seconds)
