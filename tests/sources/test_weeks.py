"""Five sources through four weeks of trouble, in the whole exporter: at the end all is balanced.

Calls are metered by the hour. Bills come days late, are restated up and down, stay away for
three days and for seven and then come at once; polls are throttled, cut off, refused and
answered with nonsense; the exporter is restarted in between. The oracle is the providers' own
books, added up with Decimal.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from costmeter.config import load_config
from costmeter.ledger.history import spend
from costmeter.ledger.verify import verify
from costmeter.model import MS_PER_DAY, MS_PER_HOUR, NANO_PER_USD, UNATTRIBUTED
from fakes import aws, azure
from fakes.anthropic_admin import AnthropicAdmin
from fakes.anthropic_admin import cost as anthropic_cost
from fakes.clock import FakeClock
from fakes.openai_admin import OpenAIAdmin
from fakes.openai_admin import cost as openai_cost
from fakes.openrouter import OpenRouterApi, activity
from fakes.reports import Fault, Reports, serving
from simulation.exporters import SteppedService

START_MS = int(datetime(2026, 10, 14, tzinfo=UTC).timestamp()) * 1000
WEEKS_DAYS, QUIET_DAYS = 28, 18
STEP_MS = 2 * MS_PER_HOUR
PRICES = """
prices:
  - {provider: openai, model: gpt-5, source: test, usd_per_million: {input: 2, output: 8}}
  - {provider: anthropic, model: claude-sonnet-4-5, source: test,
     usd_per_million: {input: 3, output: 15}}
"""
SCOPES = [
    {"name": "openai", "match": {"provider": "openai"}, "detail_from": "gateway",
     "amount_from": "openai"},
    {"name": "anthropic", "match": {"provider": "anthropic"}, "amount_from": "anthropic"},
    {"name": "openrouter", "match": {"provider": "openrouter"}, "detail_from": "none",
     "amount_from": "openrouter"},
    {"name": "aws", "match": {"provider": "aws*"}, "detail_from": "none", "amount_from": "aws"},
    {"name": "azure", "match": {"provider": "azure*"}, "detail_from": "none",
     "amount_from": "azure"},
    {"name": "rest"},
]  # fmt: skip
NAMES = ("openai", "anthropic", "openrouter", "aws", "azure")
#: After the end of its day; OpenRouter's is there at once or late.
LAG_HOURS = {"openai": 5, "anthropic": 8, "openrouter": 3, "aws": 20, "azure": 30}
#: Nobody answers on these days of the test; all of it then comes at once.
SILENT = {"openai": range(6, 9), "aws": range(9, 16), "anthropic": range(17, 20)}
#: Each makes one request, and with it the poll, fail; none is worth another try at once.
TROUBLE = (
    Fault(429, {"Retry-After": "3600"}),
    Fault(503, {"Retry-After": "7200"}),
    Fault(401),
    Fault(403),
    Fault(200, body=b'{"data": [{"start_time": 17'),
    Fault(200, body=b"[]"),
    Fault(200, body=b"<html>out of order</html>"),
)


@dataclass
class Providers:
    """What each provider charges by day and line, and what of it can be read by now."""

    chance: random.Random
    books: dict[str, dict[int, dict[str, Decimal]]] = field(default_factory=dict)
    shown: set[tuple[str, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.openai, self.anthropic = OpenAIAdmin(), AnthropicAdmin()
        self.openrouter = OpenRouterApi("2026-10-14")
        self.aws, self.azure = aws.CostExplorerApi(), azure.AzureCosts()
        self.azure.lives_seconds = 10**9
        self.books = {name: {} for name in NAMES}

    def served(self) -> Mapping[str, Reports]:
        return {name: getattr(self, name) for name in NAMES}

    def charge(self, day: int) -> None:
        """A day's charges; some lines are about what was metered, some about nothing metered."""
        near = self.chance.uniform

        def usd(low: float, high: float) -> Decimal:
            return round(Decimal(near(low, high)), 9)

        self.books["openai"][day] = {
            "gpt-5, input": usd(0.2, 0.6), "gpt-5, output": usd(0.5, 1.5),
            "web search tool calls": usd(0, 0.4),
        }  # fmt: skip
        self.books["anthropic"][day] = {"claude-sonnet-4-5": usd(0.5, 3)}
        self.books["openrouter"][day] = {"moonshotai/kimi-k2": round(usd(0, 2), 6)}
        self.books["aws"][day] = {
            "Amazon Bedrock|Usage": usd(1, 9), "Tax|Tax": usd(0, 1),
            "Amazon Bedrock|Credit": -usd(0, 2),
        }  # fmt: skip
        self.books["azure"][day] = {"Virtual Machines": usd(5, 7), "Storage": usd(0, 1)}

    def restate(self, name: str, day: int) -> None:
        """Up, down, or a line that is not there any more."""
        lines = self.books[name][day]
        for line in sorted(lines):
            lines[line] = round(lines[line] * Decimal(self.chance.choice((0, 0.5, 0.9, 1.2))), 6)

    def publish(self, now_ms: int) -> None:
        """Write into the providers' answers what is to be read by now."""
        self.openrouter.today = _date(now_ms // MS_PER_DAY)
        self.openai.costs, self.anthropic.costs = [], []
        self.aws.records, self.openrouter.days = [], {}
        scope = f"/subscriptions/{azure.SUBSCRIPTION}"
        self.azure.charges = {scope: []}
        for name, days in self.books.items():
            for day, lines in days.items():
                if now_ms < (day + 1) * MS_PER_DAY + LAG_HOURS[name] * MS_PER_HOUR:
                    continue
                for line, amount in sorted(lines.items()):
                    self._show(name, day, line, amount, scope)

    def _show(self, name: str, day: int, line: str, amount: Decimal, scope: str) -> None:
        at = day * MS_PER_DAY // 1000
        if name == "openai":
            self.openai.costs.append((at, openai_cost(str(amount), line)))
        elif name == "anthropic":
            self.anthropic.costs.append((at, anthropic_cost(f"{amount * 100:f}", line)))
        elif name == "openrouter":
            self.openrouter.days[_date(day)] = [activity(float(amount), line)]
        elif name == "aws":
            service, record = line.split("|")
            self.aws.records.append(
                aws.Charge(_date(day), f"{amount:f}", service, "x", record=record)
            )
        else:
            self.azure.charges[scope].append(
                azure.Charge(_date(day), f"{amount:f}", None, service=line, currency="USD")
            )

    def total(self, name: str) -> Decimal:
        return sum((sum(lines.values()) for lines in self.books[name].values()), Decimal())


@pytest.fixture
def providers() -> Iterator[Providers]:
    made = Providers(random.Random(7))
    with ExitStack() as stack:
        for one in made.served().values():
            stack.enter_context(serving(one))
        yield made


def configuration(folder: Path, providers: Providers) -> Path:
    (folder / "prices.yml").write_text(PRICES)
    served = providers.served()
    azure_options = [
        f"directory={azure.DIRECTORY}", f"client={azure.CLIENT}",
        f"login_url={served['azure'].url}", f"subscriptions={azure.SUBSCRIPTION}",
    ]  # fmt: skip
    of: Mapping[str, tuple[str, str, list[str]]] = {
        "openai": ("openai", "/v1", ["usage=none"]),
        "anthropic": ("anthropic", "/v1", ["usage=false"]),
        "openrouter": ("openrouter", "/api/v1", ["usage=false"]),
        "aws": ("aws_cost_explorer", "", ["forecast=false", "final_after_days=6"]),
        "azure": ("azure_cost", "", [*azure_options, "final_after_days=6"]),
    }
    sources = []
    for name, (kind, path, options) in of.items():
        key = folder / f"{name}.key"
        key.write_text(served[name].key)
        sources.append(
            {
                "name": name, "kind": kind, "key_file": str(key), "options": options,
                "base_url": served[name].url + path, "every_seconds": 14_400,
                "restated_days": 6, "lookback_days": 1,
            }
        )  # fmt: skip
    path = folder / "costmeter.yml"
    path.write_text(
        yaml.safe_dump(
            {
                "ledger": {"path": str(folder / "ledger.db")},
                "gpu": {"enabled": "false"},
                # Every day for six weeks, in processes of their own: longer than all the rest.
                "forecast": {"enabled": False},
                "anomalies": {"enabled": False},
                "prices": {"files": [str(folder / "prices.yml")]},
                "scopes": SCOPES,
                "sources": sources,
            }
        )
    )
    return path


@dataclass
class Seen:
    """What a scraper saw: counters must never fall."""

    values: dict[tuple[str, tuple[str, ...]], int] = field(default_factory=dict)

    def look(self, service: SteppedService) -> None:
        snapshot = service._publisher.snapshot()
        assert snapshot is not None
        for family in ("llm_cost_total", "llm_cost_credit_total"):
            for labels, value in snapshot.samples(family):
                assert value >= self.values.get((family, labels), 0), (family, labels)
                self.values[family, labels] = value

    def net(self) -> int:
        return sum(
            v if family == "llm_cost_total" else -v for (family, _), v in self.values.items()
        )


@pytest.mark.slow
def test_five_sources_end_balanced(tmp_path: Path, providers: Providers) -> None:
    clock, chance = FakeClock(START_MS), random.Random(11)
    config = load_config(configuration(tmp_path, providers), {})
    service, seen = SteppedService(config, clock), Seen()
    served, failed, restarts = providers.served(), 0, 0
    first = START_MS // MS_PER_DAY
    while clock.now_ms() < START_MS + (WEEKS_DAYS + QUIET_DAYS) * MS_PER_DAY:
        day, hour = divmod(clock.now_ms() - START_MS, MS_PER_DAY)
        if day < WEEKS_DAYS:
            if hour == 0:
                providers.charge(first + day)
            # Calls ended a moment ago; those of the first moment would be on a day without a bill.
            if clock.now_ms() > START_MS:
                service.post("/api/v1/usage", "gateway", _calls(clock.now_ms(), chance))
            if chance.random() < 0.04 and day > 3:
                providers.restate(chance.choice(NAMES), first + day - chance.randrange(1, 3))
            failed += _disturb(served, day, chance)
            if chance.random() < 0.03:
                service.stop()
                service, restarts = SteppedService(config, clock), restarts + 1
        providers.publish(clock.now_ms())
        service.step()
        seen.look(service)
        clock.advance(STEP_MS / 1000)
    assert failed > 50
    assert restarts > 3
    store = service._store
    by_provider = {row.group[0]: row.net for row in spend(store.connection, ("provider",))}
    wanted = {
        name: sum(
            round(amount * NANO_PER_USD)
            for lines in providers.books[name].values()
            for amount in lines.values()
        )
        for name in NAMES
    }
    assert by_provider == wanted
    # Nobody's and everybody's together are the bill, and somebody bears most of what is metered.
    by_tenant = {row.group: row.net for row in spend(store.connection, ("provider", "tenant_id"))}
    assert by_tenant["openai", "acme"] > 0 < by_tenant["openai", "globex"]
    assert by_tenant["openai", UNATTRIBUTED] > 0
    snapshot = service._publisher.snapshot()
    assert snapshot is not None
    conserved = dict(snapshot.samples("llm_cost_conservation"))
    assert conserved == dict.fromkeys([(name,) for name in NAMES], 0)
    until = dict(snapshot.samples("llm_cost_final_until_timestamp_seconds"))
    assert {at // MS_PER_DAY for at in until.values()} == {first + WEEKS_DAYS}
    # Every late amount is released by now, so the counters say what the gauges do.
    assert seen.net() == sum(wanted.values())
    assert [str(found) for found in verify(store)] == []
    service.stop()


def _disturb(served: Mapping[str, Reports], day: int, chance: random.Random) -> int:
    """Faults for the next polls; how many."""
    made = 0
    for name, one in served.items():
        if day in SILENT.get(name, ()):
            one.faults.clear()
            one.faults.extend([Fault(503, {"Retry-After": "3600"})] * 6)
            made += 1
        elif day - 1 in SILENT.get(name, ()):
            one.faults.clear()
        elif chance.random() < 0.1:
            one.faults.append(chance.choice(TROUBLE))
            made += 1
    return made


def _calls(now_ms: int, chance: random.Random) -> bytes:
    events: list[dict[str, Any]] = []
    for number in range(6):
        model = chance.choice((("openai", "gpt-5"), ("anthropic", "claude-sonnet-4-5")))
        events.append(
            {
                "request_id": f"r-{now_ms}-{number}",
                "timestamp": now_ms - chance.randrange(1, 5_000),
                "provider": model[0],
                "model": model[1],
                "tenant_id": chance.choice(("acme", "globex")),
                "tokens": {"input": chance.randrange(20_000), "output": chance.randrange(3_000)},
            }
        )
    return msgspec.json.encode(events)


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * MS_PER_DAY / 1000, UTC).date().isoformat()
