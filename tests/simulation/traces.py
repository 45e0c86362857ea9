"""How much of a cluster is allocated through the weeks: a real trace, or its generated twin."""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

#: Share of the GPUs that run a job at an instant, Unix milliseconds.
Allocated = Callable[[int], float]

_FOLDER = Path(
    os.environ.get("COSTMETER_DATA", Path(__file__).resolve().parents[3] / "shared/data")
)
#: The trace's rows are ten minutes apart and begin on Friday, 1 May 2020; four whole weeks of
#: them are replayed over and over, each on its own day of the week.
_STEP_MS = 600_000
_ROWS = 4 * 7 * 144
_FRIDAY_MS = int(datetime(2026, 5, 1, tzinfo=UTC).timestamp()) * 1_000


def helios(cluster: str) -> Allocated:
    """A virtual cluster of Helios' Earth (SenseTime, 2020). FileNotFoundError without the data."""
    with (_FOLDER / "gpu" / "helios_earth_10min" / f"{cluster}.csv").open() as file:
        rows = [
            float(row["running_gpu_num"] or 0) / float(row["total_gpu_num"] or 1)
            for row in csv.DictReader(file)
        ]
    return _replayed(rows[:_ROWS])


def twin(seed: int) -> Allocated:
    """Jobs of hours to days that come in office hours more than at night, made up."""
    pick = random.Random(f"{seed}/twin")
    rows: list[float] = []
    ends: list[int] = []
    for row in range(_ROWS):
        ends = [end for end in ends if end > row]
        hour, day = row // 6 % 24, (row // 144 + 4) % 7
        office = 8 <= hour < 19 and day < 5
        if len(ends) < 12 and pick.random() < (0.10 if office else 0.03):
            ends.append(row + round(pick.lognormvariate(4.3, 0.9)))
        rows.append(len(ends) / 12)
    return _replayed(rows)


def _replayed(rows: list[float]) -> Allocated:
    return lambda at_ms: rows[(at_ms - _FRIDAY_MS) // _STEP_MS % len(rows)]
