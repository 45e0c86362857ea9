"""The past of a ledger as Prometheus would hold it, had it scraped all along.

Counters and figures to date as /metrics names them, and what `alert_rules/` record of them.
Live counters go on where the written ones end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from costmeter.ledger.admission import EXPORTED
from costmeter.ledger.periods import Calendar, shift_month
from costmeter.metrics.catalog import CATALOG
from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from costmeter.reports.past import MODEL_OR_NONE, Changes, Past
from costmeter.reports.shapes import Periods, counter, growth, to_date, whole_before
from costmeter.reports.timeline import Timeline, series_head

#: Labels of the process that was scraped; recorded series are without them.
REPLICA = ("instance", "pod", "replica", "node", "container", "endpoint")
_PERIOD = ("category", "provider", "tenant_id")
_CALL = ("provider", "model", "tenant_id", "environment")
_REQUEST = (*_CALL, "status")
_TOKEN = (*_CALL, "token_class")
_NANO, _COUNT = 9, 0
#: Gauges stand a second before the end of their hour: at the end itself a new day begins.
_BEFORE_END_MS = 1_000
_RECORDED = "As recorded by the rule of this name."

Shape = Callable[[bytes, Changes, int], None]


class Counted(NamedTuple):
    """A counter family: where its amounts come from, and the record that follows it."""

    family: str
    measure: str
    by: tuple[str, ...]
    decimals: int
    read: Callable[[], Iterator[Changes]]


class Plan(NamedTuple):
    """What to write. Instants are whole hours, with `step_ms` of a day whole UTC days."""

    since_ms: int
    until_ms: int
    step_ms: int
    labels: tuple[tuple[str, str], ...]
    recorded: bool = True


class Backfill:
    """Writes all families; `told` hears each one's name when it is done."""

    def __init__(
        self, past: Past, out: Timeline, plan: Plan, zone: str, told: Callable[[str], None]
    ) -> None:
        self._past = past
        self._out = out
        self._plan = plan
        self._told = told
        self._scraped = plan.labels
        self._kept = tuple(pair for pair in plan.labels if pair[0] not in REPLICA)
        self._job = tuple(pair for pair in plan.labels if pair[0] == "job")
        self._steps = out.grid(range(plan.since_ms, plan.until_ms + 1, plan.step_ms))
        self._hours = out.grid(range(plan.since_ms, plan.until_ms + 1, MS_PER_HOUR))
        self._calendar = Calendar(zone)
        self._gauges = out.grid(self._ends())

    def write(self) -> None:
        self._counters()
        self._to_date()
        if self._plan.recorded:
            self._growth()
        self._out.end()

    def _counters(self) -> None:
        past = self._past
        families = (
            Counted("llm_cost_total", "up", EXPORTED, _NANO, self._cost("up")),
            Counted("llm_cost_credit_total", "down", EXPORTED, _NANO, self._cost("down")),
            Counted(
                "llm_requests_total", "amount", _REQUEST, _COUNT, lambda: past.requests(_REQUEST)
            ),
            Counted("llm_tokens_total", "amount", _TOKEN, _COUNT, lambda: past.tokens(_TOKEN)),
        )
        for one in families:
            ends = self._past.ends(one.family, one.measure, one.by)

            def shape(head: bytes, found: Changes, decimals: int, ends: Ends = ends) -> None:
                end = ends.get(found.labels, 0)
                counter(self._out, self._steps, head, found.changes, end, decimals)

            self._family(one.family, "counter", CATALOG[one.family].help)
            self._all(one.family, self._scraped, one.by, one.read(), shape, one.decimals)
            if self._plan.recorded:
                record = f"series:{one.family}:clamped"
                self._family(record, "gauge", _RECORDED)
                self._all(record, self._kept, one.by, one.read(), shape, one.decimals)

    def _to_date(self) -> None:
        calendar = self._calendar

        def month(at_ms: int) -> int:
            return calendar.day_and_month(at_ms)[1]

        days = Periods(
            self._gauges, lambda at_ms: calendar.day_and_month(at_ms)[0], calendar.previous_day
        )
        months = Periods(self._gauges, month, lambda number: shift_month(number, -1))
        quarters = Periods(self._gauges, lambda at_ms: _quarter(month(at_ms)), _quarter_before)
        years = Periods(self._gauges, lambda at_ms: month(at_ms) // 100, lambda year: year - 1)
        for name, by, periods, shape in (
            ("llm_cost_day_to_date", EXPORTED, days, to_date),
            ("llm_cost_month_to_date", EXPORTED, months, to_date),
            ("llm_cost_quarter_to_date", _PERIOD, quarters, to_date),
            ("llm_cost_year_to_date", _PERIOD, years, to_date),
            ("llm_cost_last_month", _PERIOD, months, whole_before),
        ):

            def drawn(
                head: bytes, found: Changes, decimals: int,
                periods: Periods = periods, shape: _OfPeriods = shape,
            ) -> None:  # fmt: skip
                shape(self._out, periods, head, found.changes, decimals)

            self._family(name, "gauge", CATALOG[name].help)
            self._all(name, self._scraped, by, self._net(by), drawn, _NANO)
            if not self._plan.recorded:
                continue
            record = f"series:{name}:max"
            self._family(record, "gauge", _RECORDED)
            self._all(record, self._kept, by, self._net(by), drawn, _NANO)
            if periods is days or name == "llm_cost_month_to_date":
                record = f"rollup:{name}:sum"
                self._family(record, "gauge", _RECORDED)
                for level in _levels("category", "provider", "environment"):
                    self._all(record, self._job, level, self._net(level), drawn, _NANO)
            if periods is days:
                # The week with which alerts compare a tenant's day.
                for record in ("sum", "max1h"):
                    full = f"tenant:{name}:{record}"
                    self._family(full, "gauge", _RECORDED)
                    by_tenant = ("tenant_id",)
                    self._all(full, self._job, by_tenant, self._net(by_tenant), drawn, _NANO)

    def _growth(self) -> None:
        past, step = self._past, self._plan.step_ms
        lead = step // MS_PER_HOUR - 1

        def shape(head: bytes, found: Changes, decimals: int) -> None:
            growth(self._out, self._hours, head, found.changes, decimals, lead)

        def net(by: Sequence[str]) -> Iterator[Changes]:
            return past.cost("net", by, counted=True, step_ms=step)

        self._family("series:llm_net_cost:increase1h", "gauge", _RECORDED)
        self._all(
            "series:llm_net_cost:increase1h", self._kept, EXPORTED, net(EXPORTED), shape, _NANO
        )
        self._family("job:llm_net_cost:increase1h", "gauge", _RECORDED)
        self._all("job:llm_net_cost:increase1h", self._job, (), net(()), shape, _NANO)
        for record, levels, read, decimals in (
            (
                "rollup:llm_net_cost:increase1h",
                _levels("category", "provider", "environment"),
                net,
                _NANO,
            ),
            (
                "rollup:llm_requests:increase1h",
                _levels("provider", "environment", "status"),
                lambda by: past.requests(by, step_ms=step),
                _COUNT,
            ),
            (
                "rollup:llm_tokens:increase1h",
                _levels("provider", "environment", "token_class"),
                lambda by: past.tokens(by, step_ms=step),
                _COUNT,
            ),
        ):
            self._family(record, "gauge", _RECORDED)
            for level in levels:
                self._all(record, self._job, level, read(level), shape, decimals)

    def _cost(self, measure: str) -> Callable[[], Iterator[Changes]]:
        return lambda: self._past.cost(measure, EXPORTED, counted=True)

    def _net(self, by: Sequence[str]) -> Iterator[Changes]:
        return self._past.cost("net", by, counted=False)

    def _family(self, name: str, kind: str, text: str) -> None:
        self._told(name)
        self._out.family(name, kind, text)

    def _all(
        self,
        name: str,
        target: tuple[tuple[str, str], ...],
        by: Sequence[str],
        found: Iterable[Changes],
        shape: Shape,
        decimals: int,
    ) -> None:
        names = ["model" if label == MODEL_OR_NONE else label for label in by]
        for one in found:
            labels = [*zip(names, one.labels, strict=True), *target]
            shape(series_head(name, labels), one, decimals)

    def _ends(self) -> list[int]:
        """When gauges are read: before each hour's end and each local midnight."""
        first, last = self._plan.since_ms, self._plan.until_ms
        midnights = _midnights(self._calendar, first, last)
        hours = range(first + MS_PER_HOUR, last + 1, MS_PER_HOUR)
        ends = sorted({*midnights, *(hours if self._plan.step_ms < MS_PER_DAY else ()), last})
        return [at_ms - _BEFORE_END_MS for at_ms in ends if at_ms > first]


Ends = Mapping[tuple[str, ...], int]
_OfPeriods = Callable[[Timeline, Periods, bytes, Sequence[tuple[int, int]], int], None]


def _levels(*by: str) -> tuple[tuple[str, ...], ...]:
    """The three levels of a rollup: everything, by tenant, by model."""
    return (by, (*by, "tenant_id"), (*by, MODEL_OR_NONE))


def _quarter(month: int) -> int:
    return month // 100 * 10 + (month % 100 - 1) // 3 + 1


def _quarter_before(quarter: int) -> int:
    return quarter - 1 if quarter % 10 > 1 else (quarter // 10 - 1) * 10 + 4


def _midnights(calendar: Calendar, first_ms: int, last_ms: int) -> list[int]:
    """Where days of the reporting zone begin. They do so on a quarter of an hour at least."""
    quarter = 900_000
    found = []
    day = calendar.day_and_month(first_ms - quarter)[0]
    for at_ms in range(first_ms, last_ms + 1, quarter):
        now = calendar.day_and_month(at_ms)[0]
        if now != day:
            found.append(at_ms)
            day = now
    return found
