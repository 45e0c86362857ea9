"""Accuracy of forecasts on real daily series beside plain methods, and their speed.

    COSTMETER_DATA=../shared/data PYTHONPATH=exporter python tests/benchmarks/bench_forecast.py
    ... bench_forecast.py --origins 6 --theta      # beside AutoTheta, minutes
    ... bench_forecast.py --origins 6 --deep       # the deep models' accuracy and speed, minutes
    ... bench_forecast.py --half other             # only what no constant was chosen on
    ... bench_forecast.py --speed                  # 10,000 series of 90 days, needs no data

Seven days ahead from origins spread evenly over each series, its first 8 weeks left out (first
week, for tenants of two); a method sees the 400 days before an origin and nothing else.
WAPE and the error of the 7-day total are medians over a series' origins; MASE is the mean error
over that of seasonal naive on the same days; coverage is of the 95 % interval, of days and of
7-day totals. A family's figures are medians of its series, its coverage is over all of them.

Methods and weights were chosen on the origins in every other eight weeks of each series, and on
the tenants (`--half chosen`); what is left is `--half other`.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from forecast_peers import BASELINES, NAIVE, WEEK, auto_theta, filled
from forecast_series import Daily, load

from costmeter.analysis.forecast import Request, encode
from costmeter.analysis.forecast.core import Batch, forecast

HISTORY = 400
Floats = np.ndarray
OURS, THETA, DEEP = "costmeter", "AutoTheta", "costmeter, deep"


@dataclass
class Tally:
    """One method on one series, origin by origin."""

    wape: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    wrong: float = 0.0
    days: list[bool] = field(default_factory=list)
    totals: list[bool] = field(default_factory=list)

    def add(self, said: Floats, came: Floats) -> None:
        seen = ~np.isnan(came)
        gaps, amount = (said - came)[seen], np.abs(came[seen]).sum()
        self.wrong += float(np.abs(gaps).sum())
        if amount > 0:
            self.wape.append(float(np.abs(gaps).sum() / amount))
            self.total.append(float(abs(gaps.sum()) / amount))

    def cover(self, batch: Batch, came: Floats) -> None:
        seen = ~np.isnan(came)
        low = batch.lower(batch.point, batch.day95)[0]
        high = (batch.point + batch.day95)[0]
        edge = 1e-9 * (np.abs(came) + 1)
        self.days += ((low - edge <= came) & (came <= high + edge))[seen].tolist()
        if seen.all():
            total, wide = batch.total, batch.total95
            low, high = batch.lower(total, wide)[0, WEEK - 1], (total + wide)[0, WEEK - 1]
            self.totals.append(bool(low - edge.sum() <= came.sum() <= high + edge.sum()))


Tallies = dict[str, Tally]


def origins_of(one: Daily, most: int, half: str) -> list[int]:
    """How many days are known at each origin."""
    long = len(one.values) > 10 * WEEK
    first, last = 8 * WEEK if long else WEEK, len(one.values) - WEEK
    halves = ("chosen", "other")
    possible = [
        at
        for at in range(first, last + 1)
        if half == "both" or half == halves[at // (8 * WEEK) % 2 if long else 0]
    ]
    if not possible:
        return []
    picked = np.linspace(0, len(possible) - 1, min(most, len(possible)))
    return [possible[at] for at in sorted({round(one) for one in picked})]


def judge(one: Daily, origins: list[int], theta: bool, deep: bool) -> Tallies:
    tallies: Tallies = defaultdict(Tally)
    for origin in origins:
        history = one.values[max(0, origin - HISTORY) : origin]
        came = one.values[origin : origin + WEEK]
        if np.isnan(history).all() or np.isnan(came).all():
            continue
        last = one.first + timedelta(days=origin - 1)
        batch = forecast(history[None], last, WEEK)
        tallies[OURS].add(batch.point[0], came)
        tallies[OURS].cover(batch, came)
        whole = filled(history)
        for name, method in BASELINES.items():
            tallies[name].add(method(whole), came)
        if theta:
            tallies[THETA].add(auto_theta(whole), came)
        if deep:
            from costmeter.analysis.forecast.heavy import deepen

            batch, _method = deepen(batch, history[None])
            tallies[DEEP].add(batch.point[0], came)
            tallies[DEEP].cover(batch, came)
    return tallies


def share(hits: Iterable[bool]) -> float:
    found = list(hits)
    return 100 * sum(found) / len(found) if found else float("nan")


Row = dict[str, tuple[float, float, float]]


def row_of(tallies: Tallies) -> Row:
    base = tallies[NAIVE].wrong
    return {
        name: (
            100 * float(np.median(tally.wape)) if tally.wape else float("nan"),
            100 * float(np.median(tally.total)) if tally.total else float("nan"),
            tally.wrong / base if base else float("nan"),
        )
        for name, tally in tallies.items()
    }


def family_row(rows: list[Row]) -> Row:
    return {
        name: tuple(float(np.nanmedian([row[name][at] for row in rows])) for at in range(3))
        for name in rows[0]
    }


def show(label: str, row: Row, own: list[Tallies]) -> None:
    cells = "  ".join(
        f"{row[name][0]:6.1f} {row[name][1]:6.1f} {row[name][2]:5.2f}" for name in row
    )
    cover = "  ".join(
        f"{share(x for t in own for x in t[name].days):6.1f} "
        f"{share(x for t in own for x in t[name].totals):6.1f}"
        for name in row
        if name in (OURS, DEEP)
    )
    print(f"{label:28}  {cells}  {cover}")


def accuracy(folder: Path, most: int, half: str, theta: bool, deep: bool) -> None:
    began = time.process_time()
    series = load(folder)
    found = [(one, judge(one, origins_of(one, most, half), theta, deep)) for one in series]
    found = [(one, tallies) for one, tallies in found if tallies]
    names = list(found[0][1])
    print(
        f"a cell: median WAPE %, error of the 7-day total %, MASE; last: coverage; {most} origins"
    )
    print(f"{'':28}  " + "  ".join(f"{name:>19}" for name in names) + "   days  totals")
    groups: dict[str, list[tuple[Daily, Tallies]]] = defaultdict(list)
    for one, tallies in found:
        groups[one.family].append((one, tallies))
    families: dict[str, Row] = {}
    for family, members in groups.items():
        if family != "tenants":
            for one, tallies in members:
                show(f"  {one.name}", row_of(tallies), [tallies])
        families[family] = family_row([row_of(tallies) for _one, tallies in members])
        show(f"{family} ({len(members)})", families[family], [t for _o, t in members])
    aims(families, groups)
    print(f"{time.process_time() - began:.1f} s of processor")


def aims(families: dict[str, Row], groups: dict[str, list[tuple[Daily, Tallies]]]) -> None:
    def say(text: str, reached: bool) -> None:
        print(f"  {'yes' if reached else 'no ':3}  {text}")

    print("aims:")
    for family, row in families.items():
        ours, base = row[OURS], row[NAIVE]
        for at, what in enumerate(("WAPE", "error of the 7-day total")):
            say(
                f"{family}: no worse than seasonal naive: {what} {ours[at]:.2f} to {base[at]:.2f}",
                ours[at] <= base[at],
            )
        own = [tallies[OURS] for _one, tallies in groups[family]]
        days, totals = (share(x for t in own for x in getattr(t, of)) for of in ("days", "totals"))
        say(
            f"{family}: coverage within 92 to 98 %: days {days:.1f}, totals {totals:.1f}",
            92 <= days <= 98 and 92 <= totals <= 98,
        )
    for family in ("bill", "flights", "pedestrians", "wp", "buildings", "bikes"):
        row = families[family]
        name = min(BASELINES, key=lambda one: row[one][0])
        gain = 100 * (1 - row[OURS][0] / row[name][0])
        say(f"{family}: WAPE 15 % below the best baseline ({name}): {gain:.1f} %", gain >= 15)
    total = next(row_of(t)[OURS][1] for one, t in groups["bill"] if one.name == "total")
    say(f"bill: error of the 7-day total 5 % or less: {total:.1f} %", total <= 5)
    if THETA in families["bill"]:
        for family, row in families.items():
            ours, theta = row[OURS][2], row[THETA][2]
            say(
                f"{family}: MASE no worse than AutoTheta's: {ours:.2f} to {theta:.2f}",
                ours <= theta,
            )


def generated(series: int, days: int) -> list[list[int]]:
    rng = np.random.default_rng(1)
    week = 1 + 0.4 * rng.random((series, 1)) * np.array([1, 1, 1, 1, 0, -2, -2])
    level = np.exp(
        rng.normal(3, 2, (series, 1)) + np.cumsum(rng.normal(0, 0.03, (series, days)), 1)
    )
    noise = np.exp(0.15 * rng.standard_normal((series, days)))
    usd = level * week[:, np.arange(days) % WEEK] * noise
    return np.rint(usd * 1e9).astype(np.int64).tolist()  # type: ignore[no-any-return]


#: The worker, which says at its end how much memory it had at most (kB; of its own, while
#: ru_maxrss of a child begins with what its parent had).
_WORKER = """
import re, sys
from costmeter.analysis.forecast.worker import main
code = main(sys.stdin.buffer, sys.stdout.buffer, sys.stderr)
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(code)
"""


def speed(series: int, deep: int) -> None:
    """The worker as the server starts it, on one core."""
    last = (date(2026, 3, 31) - date(1970, 1, 1)).days
    body = b"".join(encode(Request(last, generated(series, 90), deep=deep)))
    one_core = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _WORKER],
        input=body,
        capture_output=True,
        env={**os.environ, **one_core},
        check=True,
    )
    memory = int(done.stderr.split()[-1]) / 1024
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    kind = f"{series:,} series of 90 days" + (f", {deep} of them deep" if deep else "")
    print(
        f"{kind}: {cpu:.1f} s of processor, {wall:.1f} s by the clock, "
        f"{memory:.0f} MB at most, {len(done.stdout) / 1e6:.0f} MB of answers"
    )
    if deep:
        print(f"  500 at this pace: {500 / deep * wall:.0f} s (aim: 300 s)")
    else:
        print(
            f"  aims: 5 s {'yes' if cpu <= 5 else 'no'}, 150 MB {'yes' if memory <= 150 else 'no'}"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--origins", type=int, default=64)
    parser.add_argument("--half", choices=("both", "chosen", "other"), default="both")
    parser.add_argument("--theta", action="store_true")
    parser.add_argument("--deep", action="store_true")
    parser.add_argument("--speed", action="store_true")
    asked = parser.parse_args()
    if asked.speed:
        speed(10_000, 0)
        return
    accuracy(
        Path(os.environ.get("COSTMETER_DATA", "../shared/data")),
        asked.origins,
        asked.half,
        asked.theta,
        asked.deep,
    )
    if asked.deep:
        speed(30, 30)


if __name__ == "__main__":
    main()
