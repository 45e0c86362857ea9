"""The platform's bills: what its providers charge, hours to days later, and not always at once.

The providers are on loopback and answer in their own shapes; the exporter's own sources ask
them. OpenAI charges three per cent less than list, and for searches that nobody meters;
OpenRouter's spend is known from its bill alone; Anthropic's key is taken away near the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from sqlite3 import Connection
from types import TracebackType

from costmeter.model import MS_PER_DAY, MS_PER_HOUR, NANO_PER_USD
from fakes.anthropic_admin import AnthropicAdmin
from fakes.anthropic_admin import cost as anthropic_cost
from fakes.openai_admin import OpenAIAdmin
from fakes.openai_admin import cost as openai_cost
from fakes.openrouter import OpenRouterApi, activity
from fakes.reports import Fault, Reports, serving
from simulation.scenario import Scenario

#: Each scope's bill, and who is metered in it.
SCOPES: Sequence[Mapping[str, object]] = (
    {
        "name": "openai",
        "match": {"provider": "openai"},
        "detail_from": "gateway",
        "amount_from": "openai-bill",
    },
    {
        "name": "anthropic",
        "match": {"provider": "anthropic"},
        "amount_from": "anthropic-bill",
    },
    {
        "name": "openrouter",
        "match": {"provider": "openrouter"},
        "detail_from": "none",
        "amount_from": "openrouter-bill",
    },
    {"name": "rest"},
)
#: A bill says this share of what was metered at list prices.
_CHARGED = {"openai": Decimal("0.97"), "anthropic": Decimal(1)}
_SEARCHES = Decimal("3.20")
_EXPERIMENTS, _MANY_EXPERIMENTS = Decimal("2.75"), Decimal(90)
#: Days after the first whose bills come together, after the last of them.
_LATE = {"openrouter": range(7), "anthropic": range(2, 5)}
#: A day's bill appears so long after its end, and every third is restated so long after.
_APPEARS_MS, _RESTATED_MS = 6 * MS_PER_HOUR, 40 * MS_PER_HOUR
_RESTATED = Decimal("1.006")
#: Anthropic's key holds until this share of the time.
_KEY_HOLDS = 0.99

_METERED = (
    "SELECT dim.model, sum(up - down) FROM day_cell JOIN dim USING (dim) "
    "WHERE day = ? AND dim.provider = ? AND kind NOT IN ('settle', 'bill') GROUP BY dim.model"
)


class Providers:
    """Used as a context manager; then `entries` is what the configuration says of them."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._open_ai, self._anthropic = OpenAIAdmin(), AnthropicAdmin()
        self._open_router = OpenRouterApi(_date(scenario.start_ms))
        self._stack = ExitStack()
        self._billed: set[tuple[str, int]] = set()
        self._entries: list[Mapping[str, object]] = []

    def __enter__(self) -> Providers:
        for provider in (self._open_ai, self._anthropic, self._open_router):
            self._stack.enter_context(serving(provider))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def entries(self, folder: Path) -> list[Mapping[str, object]]:
        """The section `sources` of the configuration. Keys are written to the folder."""

        def entry(name: str, path: str, of: Reports, **more: object) -> Mapping[str, object]:
            key = folder / f"{name}.key"
            key.write_text(of.key, "utf-8")
            return {
                "name": f"{name}-bill",
                "kind": name,
                "key_file": str(key),
                "base_url": of.url + path,
                "every_seconds": 7_200,
                "calls_per_day": 120,
                "lookback_days": 1,
                **more,
            }

        final = "final_after_days=2"
        return [
            entry("openai", "/v1", self._open_ai, options=["usage=none", final]),
            entry("anthropic", "/v1", self._anthropic, options=["usage=false", final]),
            entry("openrouter", "/api/v1", self._open_router, options=["usage=false", final]),
        ]

    def go_on(self, ledger: Connection, now_ms: int) -> None:
        """Write the bills that are due by now, from what the ledger has metered."""
        self._open_router.today = _date(now_ms)
        if now_ms > self._scenario.at(_KEY_HOLDS):
            # Enough for every request until the next time.
            self._anthropic.faults.extend([Fault(401)] * (8 - len(self._anthropic.faults)))
        first = self._scenario.start_ms // MS_PER_DAY + 1
        for day in range(max(first, now_ms // MS_PER_DAY - 9), now_ms // MS_PER_DAY):
            end_ms = (day + 1) * MS_PER_DAY
            for name in ("openai", "anthropic", "openrouter"):
                if now_ms >= self._appears_ms(name, day) and self._once(name, day):
                    self._bill(ledger, name, day)
            if now_ms >= end_ms + _RESTATED_MS and day % 3 == 0 and self._once("restated", day):
                self._restate(day)

    def _appears_ms(self, name: str, day: int) -> int:
        late = _LATE.get(name, range(0)) if self._scenario.bills_late else range(0)
        first = self._scenario.start_ms // MS_PER_DAY + 1
        last = first + late[-1] if day - first in late else day
        return (last + 1) * MS_PER_DAY + _APPEARS_MS

    def _once(self, what: str, day: int) -> bool:
        if (what, day) in self._billed:
            return False
        self._billed.add((what, day))
        return True

    def _bill(self, ledger: Connection, name: str, day: int) -> None:
        at = day * MS_PER_DAY // 1000
        if name == "openai":
            for model, amount in _charged(ledger, day, name):
                self._open_ai.costs.append((at, openai_cost(float(amount), f"{model}, input")))
            searches = openai_cost(float(_SEARCHES), "web search tool calls")
            self._open_ai.costs.append((at, searches))
        elif name == "anthropic":
            for model, amount in _charged(ledger, day, name):
                # In cents.
                self._anthropic.costs.append((at, anthropic_cost(str(100 * amount), model)))
        else:
            spent = _MANY_EXPERIMENTS if self._scenario.bills_late else _EXPERIMENTS
            row = activity(float(spent), "moonshotai/kimi-k2")
            self._open_router.days[_date(day * MS_PER_DAY)] = [row]

    def _restate(self, day: int) -> None:
        """OpenAI found some calls that it had forgotten."""
        at = day * MS_PER_DAY // 1000
        for begins, row in self._open_ai.costs:
            if begins == at:
                value = Decimal(str(row["amount"]["value"])) * _RESTATED
                row["amount"] = {**row["amount"], "value": float(round(value, 6))}


def _charged(ledger: Connection, day: int, provider: str) -> list[tuple[str, Decimal]]:
    """USD by model, to the millionth."""
    return [
        (model, round(Decimal(nano) / NANO_PER_USD * _CHARGED[provider], 6))
        for model, nano in ledger.execute(_METERED, (day, provider))
        if nano > 0
    ]


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
