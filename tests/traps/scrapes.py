"""What Prometheus keeps of a ledger's pages: OpenMetrics lines with times.

Only what the shipped rules read is kept. Records that fold the replicas of a raw family into one
are written at once, clamped where the rule does so, for every scrape; the other rules are
evaluated afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from simulation.plan import RULES, Fold, Plan, plan

_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_WORD = re.compile(r"[a-zA-Z_][\w:]*")
_MEMORY_MS = 600_000
#: Rules that are about dashboards only.
_ASIDE = frozenset({"dashboards.rules.yml"})


class Reading(NamedTuple):
    """The plan of the shipped rules without records that no alert needs, and raw families."""

    plan: Plan
    raw: frozenset[str]

    @property
    def families(self) -> frozenset[str]:
        """The families of a ledger's page that rules read, straight or folded."""
        return self.raw | frozenset(self.plan.folds)


@cache
def reading() -> Reading:
    """What the shipped alerts need, straight or through records."""
    whole = plan(path for path in sorted(RULES.glob("*.rules.yml")) if path.name not in _ASIDE)
    by_name = {rule.record: rule for level in whole.levels for rule in level}
    needed: set[str] = set()
    texts = [alert.expression for alert in whole.alerts]
    while texts:
        found = set(_WORD.findall(texts.pop())) - needed
        needed |= found
        texts += [by_name[name].expression for name in found if name in by_name]
    levels = [[rule for rule in level if rule.record in needed] for level in whole.levels]
    folds = {
        metric: [fold for fold in own if fold.record in needed]
        for metric, own in whole.folds.items()
    }
    return Reading(
        Plan(folds, [level for level in levels if level], whole.alerts),
        frozenset(name for name in needed if ":" not in name),
    )


class _Series(NamedTuple):
    start: bytes
    folds: tuple[tuple[bytes, bool], ...]
    kept: bool
    counter: bool


class Scrapes:
    """Takes the pages of one job in the order of time."""

    def __init__(self, job: str) -> None:
        self.lines: list[bytes] = []
        self._job = job
        self._known: dict[str, dict[bytes, _Series]] = {}
        self._last: dict[bytes, tuple[int, float, bytes]] = {}
        self._shown: list[bytes] = []
        self._counters: list[bytes] = []
        self._scraped_ms = 0

    @property
    def begun(self) -> bool:
        return bool(self._shown)

    def scrape(self, at_ms: int, pages: Mapping[str, bytes | None]) -> None:
        """Pages of the targets; None is one that did not answer."""
        shown: list[bytes] = []
        counters: list[bytes] = []
        recorded: dict[bytes, tuple[float, bytes, bool, bool]] = {}
        for instance, page in pages.items():
            target = f'{{job="{self._job}",instance="{instance}"}}'.encode()
            shown.append(b"up%b %d" % (target, page is not None))
            if page is None:
                continue
            known = self._known.setdefault(instance, {})
            for line in page.splitlines():
                if line[:1] == b"#":
                    continue
                key, _, value = line.rpartition(b" ")
                series = known.get(key)
                if series is None:
                    series = known[key] = self._learn(instance, key.decode())
                if series.kept:
                    shown.append(series.start + value)
                    if series.counter:
                        counters.append(series.start + value)
                for record, clamped in series.folds:
                    number = float(value)
                    other = recorded.get(record)
                    if other is None or number > other[0]:
                        recorded[record] = (number, value, clamped, series.counter)
        for record, (number, value, clamped, counter) in recorded.items():
            text = self._clamp(record, at_ms, number, value) if clamped else value
            shown.append(record + text)
            if counter:
                counters.append(record + text)
        self._scraped_ms = at_ms
        self._shown, self._counters = shown, counters
        self._write(at_ms, shown)

    def hold(self, at_ms: int, *, counters: bool = False) -> None:
        """The same pages again, or their counters alone."""
        self._write(at_ms, self._counters if counters else self._shown)

    def _write(self, at_ms: int, shown: list[bytes]) -> None:
        stamp = b" %d.%03d\n" % divmod(at_ms, 1000)
        self.lines += [line + stamp for line in shown]

    def _clamp(self, record: bytes, at_ms: int, number: float, value: bytes) -> bytes:
        """As the rule does every minute; a page that is held is recorded until it changes."""
        last_ms, last, text = self._last.get(record, (0, 0.0, b""))
        recent = at_ms - last_ms <= _MEMORY_MS or last_ms == self._scraped_ms
        if recent and 0.99 * last < number < last:
            number, value = last, text
        self._last[record] = (at_ms, number, value)
        return value

    def _learn(self, instance: str, key: str) -> _Series:
        name, _, rest = key.partition("{")
        labels = dict(_LABEL.findall(rest)) | {"job": self._job, "instance": instance}
        found = reading()
        folds = tuple(
            (_start(fold.record, _without(labels, fold)), fold.clamped)
            for fold in found.plan.folds.get(name, ())
        )
        kept = name in found.raw and not folds
        return _Series(_start(name, labels), folds, kept, name.endswith("_total"))


def _without(labels: Mapping[str, str], fold: Fold) -> dict[str, str]:
    return {name: text for name, text in labels.items() if name not in fold.without}


def _start(name: str, labels: Mapping[str, str]) -> bytes:
    pairs = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{pairs}}} ".encode()
