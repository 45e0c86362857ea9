"""Real clients in front, a provider that counts behind, and what the real exporter booked."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from costmeter import Meter
from fakes.exporter import Exporter, wait_until
from fakes.provider import Provider, provider

#: Series are shown at once, so that a test need not wait for them.
CONFIG = "ledger: {birth_hold_seconds: 0}\n"

_EVENTS = """
SELECT d.tenant_id, d.provider, d.model, d.team, d.feature, d.operation, e.id, e.status,
       e.user_id, e.session_id, e.processing, e.latency_ms, e.at_ms, e.quantities, e.detail
FROM usage_event e JOIN dim d USING (dim) WHERE d.tenant_id = ? ORDER BY e.event
"""


class Event(NamedTuple):
    """One booked call, as it stands in the ledger."""

    tenant_id: str
    provider: str
    model: str
    team: str
    feature: str
    operation: str
    id: str
    status: str
    user_id: str
    session_id: str
    processing: str
    latency_ms: int
    at_ms: int
    quantities: Mapping[str, int]
    detail: Mapping[str, Any]


@dataclass
class Rig:
    """A tenant of its own for each test, on one exporter."""

    exporter: Exporter
    provider: Provider
    meter: Meter
    tenant_id: str

    def events(self, tenant_id: str | None = None) -> list[Event]:
        """What is booked, after everything was delivered."""
        assert self.meter.flush(10), self.meter.stats
        path = self.exporter.ledger
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            rows = connection.execute(_EVENTS, (tenant_id or self.tenant_id,)).fetchall()
        return [Event(*row[:-2], json.loads(row[-2]), json.loads(row[-1] or "{}")) for row in rows]

    def requests(self) -> Counter[tuple[str, str]]:
        return Counter((one.model, one.status) for one in self.events())

    def tokens(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for one in self.events():
            for name, count in one.quantities.items():
                if name != "web_searches":
                    found[one.model, name] += count
        return found

    def assert_booked_as_served(self) -> None:
        """Requests by model and status, and tokens by model and class, are equal."""
        # The provider writes down what it served when the answer is out already.
        ends = time.monotonic() + 5
        served, booked = self.provider.requests(), self.requests()
        while served != booked and time.monotonic() < ends:
            time.sleep(0.02)
            served, booked = self.provider.requests(), self.requests()
        assert served == booked, (served, booked, self.meter.stats)
        served, booked = self.provider.tokens(), self.tokens()
        assert served == booked, (served, booked, self.meter.stats)
        # The ledger would hide what was sent twice.
        assert (self.meter.stats.lost, self.meter.stats.duplicate) == (0, 0), self.meter.stats

    def assert_shown_as_served(self) -> None:
        """The same on the exporter's page, where Prometheus takes it from."""
        served = dict(self.provider.requests()), dict(self.provider.tokens())
        assert self.meter.flush(10)

        def shown() -> bool:
            page = self.exporter.metrics()
            found: list[dict[tuple[str, str], float]] = [{}, {}]
            for place, (name, label) in enumerate(
                (("llm_requests_total", "status"), ("llm_tokens_total", "token_class"))
            ):
                for labels, value in page.family(name).items():
                    of = dict(labels)
                    if of["tenant_id"] == self.tenant_id and of[label] != "web_searches":
                        found[place][of["model"], of[label]] = value
            return tuple(found) == served

        wait_until(shown, 8, f"on the page: {served}")


@contextmanager
def exporter_in(folder: Path) -> Iterator[Exporter]:
    with Exporter(folder, CONFIG).start() as exporter:
        yield exporter


@contextmanager
def rig(exporter: Exporter, tenant_id: str, **defaults: Any) -> Iterator[Rig]:
    url = f"http://{exporter.address}"
    with provider() as served, Meter(url, tenant_id=tenant_id, linger_seconds=0, **defaults) as m:
        yield Rig(exporter, served, m, tenant_id)
