"""Anomaly detection on labelled series, beside plain rules, and its speed.

    COSTMETER_DATA=../shared/data PYTHONPATH=exporter python tests/benchmarks/bench_anomaly.py

Every series is brought to hours (means) and watched from its first hour on, with 30 days of
lookback and silence for the first 7. An event is a labelled window, or a run of labelled
hours, that ends after those 7 days; it is found when an alarm overlaps it, and an alarm that
overlaps none is false. The plain rules (mean and 2 standard deviations; median and
3 robust deviations) see the same hours; their alarms within 12 hours are one event, as ours.
The delay is from an event's begin to the hour that raised the first alarm, in hours.
"""

from __future__ import annotations

import csv
import json
import math
import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from costmeter.analysis.anomaly.detect import detect_many
from costmeter.analysis.anomaly.shapes import Series, Settings
from costmeter.model import MS_PER_HOUR

LEARN, LOOKBACK, MERGE, MONTH = 168, 720, 12, 720
Span = tuple[int, int]


@dataclass(frozen=True)
class Labelled:
    name: str
    first: int
    values: list[float | None]
    events: list[Span]


@dataclass(frozen=True)
class Alarm:
    first: int
    last: int
    raised: int


@dataclass
class Score:
    found: int = 0
    events: int = 0
    true: int = 0
    false: int = 0
    months: float = 0.0
    delays: tuple[int, ...] = ()

    def add(self, other: Score) -> None:
        self.found += other.found
        self.events += other.events
        self.true += other.true
        self.false += other.false
        self.months += other.months
        self.delays += other.delays

    def row(self) -> str:
        precision = self.found / max(self.found + self.false, 1)
        recall = self.found / max(self.events, 1)
        both = 2 * precision * recall / max(precision + recall, 1e-9)
        delay = f"{statistics.median(self.delays):.0f}" if self.delays else "-"
        return (
            f"{self.found:3}/{self.events:<3} {self.false:4} {self.false / self.months:6.2f} "
            f"{precision:6.2f} {recall:6.2f} {both:6.2f} {delay:>5}"
        )


def hour(text: str) -> int:
    at = datetime.fromisoformat(text.strip()[:19].replace("T", " ")).replace(tzinfo=UTC)
    return int(at.timestamp()) // 3600


def labelled(folder: Path) -> list[Labelled]:
    windows = json.loads((folder / "nab" / "windows.json").read_text())
    out = []
    for path in sorted(folder.rglob("*.csv")):
        with path.open(encoding="utf-8-sig") as file:
            rows = [{k.lower(): v for k, v in row.items()} for row in csv.DictReader(file)]
        hours: dict[int, list[float]] = {}
        marks = set()
        for row in rows:
            hours.setdefault(hour(row["timestamp"]), []).append(float(row["value"]))
            if float(row.get("label") or 0):
                marks.add(hour(row["timestamp"]))
        first = min(hours) // 24 * 24
        values = [
            statistics.fmean(hours[at]) if at in hours else None
            for at in range(first, max(hours) + 1)
        ]
        name = f"{path.parent.name}/{path.stem}"
        given = windows.get(f"{path.parent.name}/{path.name}")
        events = [(hour(a), hour(b)) for a, b in given] if given else runs(sorted(marks))
        out.append(Labelled(name, first, values, events))
    return out


def runs(hours: list[int]) -> list[Span]:
    out: list[Span] = []
    for at in hours:
        if out and at - out[-1][1] <= 1:
            out[-1] = (out[-1][0], at)
        else:
            out.append((at, at))
    return out


def ours(one: Labelled) -> list[Alarm]:
    # Units differ from series to series: an ordinary value becomes 10 USD; no floor.
    scale = 1e10 / statistics.median(abs(v) for v in one.values if v)
    nano = [None if v is None else round(v * scale) for v in one.values]
    end = (one.first + len(nano)) * MS_PER_HOUR
    series = Series((("series", one.name),), one.first * MS_PER_HOUR, nano, end)
    return [
        Alarm(
            found.first_seen_ms // MS_PER_HOUR,
            found.last_seen_ms // MS_PER_HOUR,
            found.detected_ms // MS_PER_HOUR,
        )
        for found in detect_many([series], end, Settings(floor_nano=0)).findings
    ]


def rule(one: Labelled, robust: bool) -> list[Alarm]:
    values = np.array([math.nan if v is None else v for v in one.values])
    hot: list[list[int]] = []
    for at in range(LEARN, len(values)):
        past = values[max(0, at - LOOKBACK) : at]
        past = past[~np.isnan(past)]
        if math.isnan(values[at]) or len(past) < LEARN / 2:
            continue
        middle = float(np.median(past) if robust else past.mean())
        spread = float(1.4826 * np.median(np.abs(past - middle)) if robust else past.std())
        if abs(values[at] - middle) > (3 if robust else 2) * spread:
            if hot and at - hot[-1][1] <= MERGE:
                hot[-1][1] = at
            else:
                hot.append([at, at])
    return [Alarm(one.first + a, one.first + b, one.first + a) for a, b in hot]


def judge(one: Labelled, alarms: list[Alarm]) -> Score:
    events = [span for span in one.events if span[1] >= one.first + LEARN]
    score = Score(events=len(events), months=(len(one.values) - LEARN) / MONTH)
    for begin, end in events:
        over = [alarm for alarm in alarms if alarm.first <= end and alarm.last >= begin]
        if over:
            score.found += 1
            score.delays += (max(0, min(alarm.raised for alarm in over) - begin),)
    score.false = sum(
        not any(alarm.first <= end and alarm.last >= begin for begin, end in events)
        for alarm in alarms
    )
    return score


METHODS: dict[str, Callable[[Labelled], list[Alarm]]] = {
    "costmeter": ours,
    "2 sigma": lambda one: rule(one, robust=False),
    "robust z": lambda one: rule(one, robust=True),
}


def accuracy(folder: Path) -> None:
    totals = {name: Score() for name in METHODS}
    print(f"{'series':46} {'method':10} found   false  /month  prec.  recall     F1 delay")
    for one in labelled(folder):
        for name, method in METHODS.items():
            score = judge(one, method(one))
            totals[name].add(score)
            print(f"{one.name[-46:]:46} {name:10} {score.row()}")
    for name, score in totals.items():
        print(f"{'all':46} {name:10} {score.row()}")


def speed(many: int = 2_000, days: int = 38) -> None:
    """A replay of 30 days of many series, and one hourly run from the states."""
    chance = random.Random(1)
    hours, end = days * 24, days * 24 * MS_PER_HOUR
    series = [
        Series(
            (("tenant_id", f"t{number}"),),
            0,
            [round(1e10 * chance.lognormvariate(0, 0.2)) for _ in range(hours)],
            end,
        )
        for number in range(many)
    ]
    begin = time.process_time()
    found = detect_many(series, end)
    replay = time.process_time() - begin
    begin = time.process_time()
    detect_many(series, end, states=found.states)
    hourly = time.process_time() - begin
    print(f"{many} series, {hours - LEARN} hours each: {replay:.1f} s CPU; "
          f"one run from the states: {hourly:.2f} s CPU")  # fmt: skip


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[2]
    data = Path(os.environ.get("COSTMETER_DATA", here.parent / "shared" / "data")) / "anomaly"
    if data.is_dir():
        accuracy(data)
    else:
        print(f"no labelled series: {data} is not there (set COSTMETER_DATA)")
    speed()
