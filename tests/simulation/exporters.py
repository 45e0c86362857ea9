"""The exporter's own processes, stepped by hand: the same parts, without their threads' waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from costmeter.clock import Clock
from costmeter.config import Config, Token, Tokens
from costmeter.engine import anomalies
from costmeter.engine.node_gpus import book_gpu_time
from costmeter.engine.replica import Replica
from costmeter.engine.schedule import daily
from costmeter.engine.service import Service
from costmeter.gpu.meter import GpuMeter
from costmeter.model import Posting
from costmeter.web import Access, Application, Settings
from fakes.tokens import bearer, token

FEEDS = ("gateway", "batch", "sdk")


class SteppedService(Service):
    """The writing exporter. Its jobs, sources and publisher run when `step` is called.

    A source that wants to wait for its provider does not: whoever steps has no time to lose.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        super().__init__(config, clock)
        self.writer.start()
        self._jobs.remember()
        # Hours do not pass here by themselves: looking for anomalies at each would take longer than
        # all the rest.
        looking = self._jobs._jobs.get(anomalies.JOB)
        if looking is not None:
            self._jobs._jobs[anomalies.JOB] = replace(looking, schedule=daily("03:00", "UTC"))
        #: What others may look at in the ledger, apart from the service itself.
        self.reader = self._store.reader()
        if self._sources is not None:
            for poller in self._sources.pollers:
                poller._desk = poller._desk._replace(pause=_at_once)
                poller.remember()
        self._loop = asyncio.new_event_loop()
        self._application = Application(
            access=Access(listen_host="127.0.0.1", tokens=tokens()),
            door=self.writer,
            render=self.exposition.respond,
            health=self.health,
            reload=_never,
            tally=self.tally,
            clock=clock,
            settings=Settings(),
        )

    def step(self) -> None:
        """Ask the sources and run the jobs that are due, then publish what they committed."""
        if self._sources is not None:
            for poller in self._sources.pollers:
                if poller.due():
                    poller.poll()
        self._jobs.run_due()
        self._publisher.refresh()

    def post(self, path: str, feed: str, body: bytes) -> dict[str, Any]:
        """Send a body in the application's own words; its answer. It must be taken."""
        status, answer = self._loop.run_until_complete(
            _ask(self._application, path, bearer(feed), body)
        )
        if status != 200:
            raise AssertionError(f"{path} answered {status}: {answer.decode()}")
        found: dict[str, Any] = msgspec.json.decode(answer)
        return found

    def book_gpu_time(self, meter: GpuMeter) -> None:
        """What an agent's segments are to the ledger."""
        book_gpu_time(self.writer, meter)

    def book(self, *postings: Posting) -> None:
        """Entries that come from no metered call."""
        self.writer.run(lambda: self.writer.booking.post(postings)).result()

    def stop(self) -> None:
        self.reader.close()
        super().stop()
        self._application.close()
        self._loop.close()


class SteppedReplica(Replica):
    """The exporter that only reads, refreshed by hand."""

    def __init__(self, config: Config, clock: Clock) -> None:
        super().__init__(config, clock)
        self._publisher.refresh()

    def step(self) -> None:
        self._publisher.refresh()


def tokens() -> Tokens:
    """One credential a feed; each writes for every tenant."""
    found: list[Token] = []
    for name in FEEDS:
        known = token(name)
        found.append(Token(name, name, "", known.permissions, known.digest))
    return Tokens(found)


def _at_once(_: float) -> bool:
    return False


async def _never() -> str:
    return "nothing to reload"


async def _ask(
    application: Application, path: str, headers: Mapping[str, str], body: bytes
) -> tuple[int, bytes]:
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:])
