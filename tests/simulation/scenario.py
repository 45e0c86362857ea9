"""What is simulated: how long, how finely, how many; and the instants of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from costmeter.model import MS_PER_DAY, MS_PER_HOUR

#: A Friday afternoon: office hours, and later than the shipped prices were read. In the past, so
#: that whoever asks for it twice gets the same.
FIXED_END_MS = int(datetime(2026, 11, 20, 15, tzinfo=UTC).timestamp()) * 1_000

#: Scrapes stand this far from the full minute, as real ones do. A query for a full minute then
#: never sees two scrapes at once within Prometheus' five minutes.
SCRAPE_OFFSET_MS = 7_000

_FINE_STEP_MS = 60_000
#: Rooms of the exporter that no simulation enters.
_UNUSED = frozenset({"cli", "demo", "sdk"})
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Scenario:
    """The platform runs for `days` until `end_ms` (Unix milliseconds, a full minute).

    It is scraped every `step_seconds` (at most five minutes, which is as long as Prometheus
    looks back) and in the last `fine_hours` every minute. `density` scales the calls an hour,
    and their size the other way: fewer, larger calls for speed, at about the same spend (more
    where a provider charges long contexts at a higher rate). With `bills_late` OpenRouter's
    bills of seven days come at once, and Anthropic's of three; OpenRouter's are large then.
    `trace` names the virtual cluster of Helios after which GPUs are given out; without one that
    is made up. Without `analysis` nothing is forecast, and nobody looks for anomalies.
    """

    days: int = 30
    step_seconds: int = 300
    fine_hours: int = 6
    replicas: int = 1
    tenants: int = 8
    density: float = 1.0
    bills_late: bool = False
    trace: str = ""
    analysis: bool = True
    seed: int = 2026
    end_ms: int = FIXED_END_MS

    def __post_init__(self) -> None:
        if not 1 <= self.days <= 400:
            raise ValueError(f"days is {self.days}; write 1 to 400")
        if not 10 <= self.step_seconds <= 300 or 3600 % self.step_seconds:
            raise ValueError(
                f"the step is {self.step_seconds} s; write 10 to 300 s that divide an hour"
            )
        if self.replicas not in (1, 2):
            raise ValueError(f"replicas is {self.replicas}; write 1 or 2")
        if self.tenants < 1:
            raise ValueError("there must be a tenant")
        if self.end_ms % _FINE_STEP_MS:
            raise ValueError("the end must be a full minute")

    @property
    def start_ms(self) -> int:
        return self.end_ms - self.days * MS_PER_DAY

    def at(self, share: float) -> int:
        """The instant at which this share of the time has passed."""
        return self.start_ms + round((self.end_ms - self.start_ms) * share)

    def ticks(self) -> Iterator[int]:
        """The instants of the scrapes, from the start to just before the end."""
        at_ms, step_ms = self.start_ms, self.step_seconds * 1_000
        fine_ms = max(self.start_ms, self.end_ms - self.fine_hours * MS_PER_HOUR)
        while at_ms + SCRAPE_OFFSET_MS < self.end_ms:
            yield at_ms + SCRAPE_OFFSET_MS
            at_ms += step_ms if at_ms < fine_ms else min(step_ms, _FINE_STEP_MS)

    def key(self) -> str:
        """Changes with whatever the outcome depends on: the scenario, the code and the rules."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for folder, pattern in (
            ("exporter/costmeter", "**/*.py"),
            ("exporter/costmeter/pricing", "data/*"),
            ("tests/simulation", "*.py"),
            ("alert_rules", "*.rules.yml"),
        ):
            for path in sorted((_ROOT / folder).glob(pattern)):
                if not _UNUSED & {*path.parts} and not path.name.startswith("test_"):
                    digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


#: The whole picture: ten million samples, some minutes of one core.
MONTH = Scenario()
#: For everyday tests: a week and the days that it is compared with. Not with fewer, larger calls:
#: some models cost twice as much from 200,000 tokens on, and budgets would be crossed early.
WEEK = Scenario(days=9, fine_hours=1)
#: Where two histories are compared with each other.
TWO_DAYS = Scenario(days=2, fine_hours=1)
