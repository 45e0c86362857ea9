"""The programs that the demonstration starts, and sees to the end of."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

HOST = "127.0.0.1"
_Item = TypeVar("_Item")


class Trouble(Exception):
    """Something the demonstration cannot go on without; the text says what and why."""


class Stopped(Exception):
    """Somebody asked for the end, by Ctrl-C or a signal."""


class Stop:
    """Set by a signal; every wait of the demonstration ends with it."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        self._asked.set()

    def pause(self, seconds: float) -> None:
        """Wait, or raise Stopped as soon as somebody asked for the end."""
        if self._asked.wait(seconds):
            raise Stopped

    def watch(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """The same items, as long as nobody asked for the end."""
        for item in items:
            if self._asked.is_set():
                raise Stopped
            yield item

    def until(self, test: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for a test to hold. Raises Trouble when it does not in time."""
        ends = time.monotonic() + seconds
        while not test():
            if time.monotonic() > ends:
                raise Trouble(f"{what} took more than {seconds:.0f} seconds")
            self.pause(0.05)


class Child:
    """A program with its output in a file; it ends with the demonstration."""

    def __init__(
        self, name: str, command: Sequence[str | Path], folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.log = folder / f"{name.lower().replace(' ', '-')}.log"
        # A session of its own: Ctrl-C is for the demonstration, which ends its children in
        # order. Should it be killed itself, the kernel tells them (setpriv is of util-linux).
        lead = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [*lead, *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**_environment(), **(environment or {})},
            )  # fmt: skip

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> str:
        """How it ended, and the last it wrote."""
        code = self._process.poll()
        how = f"with exit code {code}"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                how = f"by {signal.Signals(-code).name}"
        text = self.log.read_text("utf-8", "replace").strip().splitlines()[-3:]
        return "\n".join([f"{self.name} ended {how}; its log is {self.log}", *text])

    def check(self) -> None:
        """Raise Trouble when it has ended."""
        if self.ended:
            raise Trouble(self.end())

    def finish(self, stop: Stop, seconds: float) -> None:
        """Wait for a program that is meant to end. Raises Trouble unless all went well."""
        stop.until(lambda: self.ended, seconds, self.name)
        if self._process.returncode:
            raise Trouble(self.end())

    def ready(self, stop: Stop, url: str, seconds: float = 60) -> None:
        """Wait until an address answers."""

        def answers() -> bool:
            self.check()
            return fetch(url) is not None

        stop.until(answers, seconds, f"{self.name}: an answer of {url}")

    def terminate(self) -> None:
        if not self.ended:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Until it has ended; one that will not is killed."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment() -> dict[str, str]:
    """This process' own, without settings of an exporter: the demonstration has its own."""
    return {name: text for name, text in os.environ.items() if not name.startswith("COSTMETER_")}


def fetch(url: str, body: bytes | None = None, seconds: float = 5) -> bytes | None:
    """What a local address answers; None without an answer, or with an error."""
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310
    try:
        # No proxy: every address is on this machine.
        with _DIRECT.open(request, timeout=seconds) as answer:
            found: bytes = answer.read()
            return found
    except (OSError, http.client.HTTPException, ValueError):
        return None


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_ports(count: int, first: int | None = None) -> list[int]:
    """Ports that nobody listens on; the first one as asked. Raises Trouble when it is busy."""
    if first is not None and not 0 < first < 65_536:
        raise Trouble(f"port {first} cannot be used; write a number from 1 to 65535")
    with contextlib.ExitStack() as held:
        ports = []
        # All are held until the last one is found, so that none is found twice.
        for wanted in [first or 0] + [0] * (count - 1):
            probe = held.enter_context(socket.socket())
            # As servers do: a port that was closed a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, wanted))
            except OSError as error:
                raise Trouble(
                    f"port {wanted} cannot be used ({error.strerror}); leave --port out and a "
                    "free one is chosen"
                ) from None
            ports.append(int(probe.getsockname()[1]))
    return ports
