"""Real daily series for the benchmark of forecasts, read from the folder of test data."""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

_BILL = {
    "total": ("binder-prod", "binder-staging"),
    "binder-prod": ("binder-prod",),
    "compute-engine": ("cat:compute-engine",),
}
_BILL_PARTS = ("binder-staging", "cat:cloud-storage", "cat:com.googleapis", "cat:com.googleprod")


@dataclass(frozen=True)
class Daily:
    """Amounts by day from `first` on, NaN where the file has none."""

    family: str
    name: str
    first: date
    values: np.ndarray


def load(folder: Path) -> list[Daily]:
    bill = folder / "billing" / "binder_daily_2017-12_2018-09.csv"
    daily = folder / "forecast"
    found = [_columns("bill", name, bill, "date", columns) for name, columns in _BILL.items()]
    found += [_columns("bill parts", name, bill, "date", (name,)) for name in _BILL_PARTS]
    for family, file, day, value in (
        ("flights", "sk_uk_daily_flights.csv", "Date", "Number of flights"),
        ("pedestrians", "prophet_pedestrians_covid.csv", "ds", "y"),
        ("wp", "prophet_wp_log_R.csv", "ds", "y"),
        ("buildings", "sk_bdg2_daily_sample.csv", "timestamp", "building_1"),
        ("buildings", "sk_bdg2_daily_sample.csv", "timestamp", "building_2"),
        ("bikes", "sk_bicimad_users.csv", "date", "users"),
    ):
        found.append(_columns(family, value.lower(), daily / file, day, (value,)))
    found += _tenants(folder / "llm" / "servegen_m-small_hourly.csv")
    found.append(_taxi(folder / "anomaly" / "nab" / "realKnownCause" / "nyc_taxi.csv"))
    return found


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def _day(text: str) -> date:
    if "/" in text:
        day, month, year = text.split("/")
        return date(int(year), int(month), int(day))
    return date.fromisoformat(text[:10])


def _columns(family: str, name: str, path: Path, day: str, columns: tuple[str, ...]) -> Daily:
    by_day = {}
    for row in _rows(path):
        values = [row[column] for column in columns]
        if all(one not in ("", "NA") for one in values):
            by_day[_day(row[day])] = sum(map(float, values))
    return _whole(family, name.removeprefix("cat:"), by_day)


def _whole(family: str, name: str, by_day: dict[date, float]) -> Daily:
    first = min(by_day)
    values = np.full((max(by_day) - first).days + 1, np.nan)
    for day, value in by_day.items():
        values[(day - first).days] = value
    return Daily(family, name, first, values)


def _tenants(path: Path) -> list[Daily]:
    """Tokens a day, an output token counting as four, of clients seen on all 14 days."""
    clients: dict[str, dict[date, float]] = defaultdict(lambda: defaultdict(float))
    for row in _rows(path):
        day = date(2024, 1, 1) + timedelta(days=int(row["hour"]) // 24)
        clients[row["client"]][day] += float(row["tin"]) + 4 * float(row["tout"])
    return [
        _whole("tenants", f"client {name}", days)
        for name, days in clients.items()
        if len(days) == 14
    ]


def _taxi(path: Path) -> Daily:
    found: dict[date, list[float]] = defaultdict(list)
    for row in _rows(path):
        found[_day(row["timestamp"])].append(float(row["value"]))
    average: Callable[[list[float]], float] = statistics.fmean
    return _whole("taxi", "taxi demand", {day: average(values) for day, values in found.items()})
