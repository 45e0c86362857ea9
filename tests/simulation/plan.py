"""The recording rules in an order in which a finished history can be recorded.

Prometheus records as time goes by, and a rule may read its own last value. Over a history that
lies there already, rules are evaluated one after the other, each over all of the time; one that
reads itself cannot be. So the two forms that read raw families are computed at the scrape, and
the rest in levels: what reads only recorded series of lower levels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).resolve().parents[2] / "alert_rules"

_SPACE = re.compile(r"\s+")
_FOLD = re.compile(r"max without \(([a-z_, ]+)\) \(([a-zA-Z_]\w*)\)")
_RECORDED = re.compile(r"[a-zA-Z_]\w*:[\w:]+")


@dataclass(frozen=True, slots=True)
class Fold:
    """`record` is the largest value of `metric` over the series that differ in `without` only.

    A clamped one never falls by less than one per cent within ten minutes.
    """

    record: str
    metric: str
    without: frozenset[str]
    clamped: bool


@dataclass(frozen=True, slots=True)
class Rule:
    record: str
    expression: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule; it fires when its expression has had a result for `hold_ms`."""

    name: str
    expression: str
    hold_ms: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """`folds` by the metric they read; `levels` in the order of their evaluation."""

    folds: Mapping[str, Sequence[Fold]]
    levels: Sequence[Sequence[Rule]]
    alerts: Sequence[Alert]


class UnknownForm(ValueError):
    """A rule that reads itself in another way than the clamp does."""


def plan(files: Iterable[Path] | None = None) -> Plan:
    """The plan for the recording rules of these files; all shipped ones by default."""
    paths = sorted(RULES.glob("*.rules.yml")) if files is None else list(files)
    folds: dict[str, list[Fold]] = {}
    rules: dict[str, Rule] = {}
    folded: set[str] = set()
    written = [rule for path in paths for rule in _rules(path)]
    for entry in written:
        if "record" not in entry:
            continue
        rule = Rule(entry["record"], entry["expr"].strip())
        fold = _fold(rule)
        if fold is not None:
            folds.setdefault(fold.metric, []).append(fold)
            folded.add(fold.record)
        else:
            rules[rule.record] = rule
    alerts = [
        Alert(
            entry["alert"],
            entry["expr"].strip(),
            _span_ms(str(entry.get("for", "0s"))),
            entry.get("labels", {}),
        )
        for entry in written
        if "alert" in entry
    ]
    return Plan(folds, _levels(rules, folded), alerts)


def _rules(path: Path) -> list[dict[str, Any]]:
    document: Any = yaml.safe_load(path.read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def _span_ms(text: str) -> int:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise ValueError(f"{text!r} is no span that this knows")
    return int(found[1]) * {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}[found[2]]


def _fold(rule: Rule) -> Fold | None:
    found = _FOLD.search(rule.expression)
    if found is None or ":" in found[2]:
        return None
    without = frozenset(name.strip() for name in found[1].split(","))
    if _SPACE.sub(" ", rule.expression) == found[0]:
        return Fold(rule.record, found[2], without, clamped=False)
    last = f"last_over_time({rule.record}[10m])"
    clamp = f"({found[0]} >= {last}) or ({last} and {found[0]} > 0.99 * {last}) or {found[0]}"
    if _SPACE.sub("", rule.expression) == _SPACE.sub("", clamp):
        return Fold(rule.record, found[2], without, clamped=True)
    return None


def _levels(rules: Mapping[str, Rule], folded: set[str]) -> list[list[Rule]]:
    left = dict(rules)
    done = set(folded)
    levels: list[list[Rule]] = []
    while left:
        ready = [
            rule
            for rule in left.values()
            if not {name for name in _RECORDED.findall(rule.expression) if name in left} - done
        ]
        if not ready:
            raise UnknownForm(f"these rules read themselves or each other: {', '.join(left)}")
        levels.append(ready)
        for rule in ready:
            del left[rule.record]
    return levels
