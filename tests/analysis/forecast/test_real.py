"""Real daily series, and generated ones beside them: no worse than last week, honest intervals."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from benchmarks.forecast_series import Daily, load
from costmeter.analysis.forecast.core import forecast

DATA = Path(os.environ.get("COSTMETER_DATA", Path(__file__).parents[4] / "shared" / "data"))
WEEK, HISTORY, ORIGINS = 7, 400, 16


@pytest.mark.real_data
def test_real_series_by_family():
    if not (DATA / "forecast").is_dir():
        pytest.skip(f"there is no {DATA / 'forecast'}; set COSTMETER_DATA to the data folder")
    judge(load(DATA))


def test_generated_series_by_family():
    rng = np.random.default_rng(11)
    season = np.tile([1.2, 1.2, 1.1, 1.1, 1.0, 0.6, 0.6], 32)

    def noise(sigma: float) -> np.ndarray:
        return np.exp(sigma * rng.standard_normal(224))

    shapes = {
        "weekly": lambda: 100 * season * noise(0.1),
        "growing": lambda: 100 * season * noise(0.1) * np.linspace(1, 3, 224),
        "wandering": lambda: 100 * np.exp(np.cumsum(0.04 * rng.standard_normal(224))),
        "steps": lambda: 50 * np.repeat(rng.integers(2, 9, 16), 14) * noise(0.03),
        "intermittent": lambda: np.where(rng.random(224) < 0.3, rng.gamma(2, 20, 224), 0.0),
    }
    judge(
        [
            Daily(family, f"{family} {at}", date(2025, 1, 1), shape())
            for family, shape in shapes.items()
            for at in range(4)
        ]
    )


def judge(series: Sequence[Daily]) -> None:
    """Each family's median error is that of seasonal naive at most, and 95 % means 92 to 98 %,
    over all families; no family is far outside."""
    # What ends on the same day after as many days is forecast together.
    groups = defaultdict(list)
    for one in series:
        for origin in origins(one):
            history = one.values[max(0, origin - HISTORY) : origin]
            came = one.values[origin : origin + WEEK]
            if not np.isnan(came).any() and not np.isnan(history[-WEEK:]).any():
                last = one.first + timedelta(days=origin - 1)
                groups[last, len(history)].append((one, history, came))
    errors, inside, sums = defaultdict(list), defaultdict(list), defaultdict(list)
    for (last, _days), members in groups.items():
        said = forecast(np.stack([history for _one, history, _came in members]), last, WEEK)
        for at, (one, history, came) in enumerate(members):
            edge = 1e-9 * (1 + came)
            gaps = said.point[at] - came
            inside[one.family] += (np.abs(gaps) <= said.day95[at] + edge).tolist()
            sums[one.family].append(abs(gaps.sum()) <= said.total95[at, -1] + edge.sum())
            if came.sum() > 0:
                naive = np.abs(history[-WEEK:] - came).sum()
                found = np.abs(gaps).sum() / came.sum(), naive / came.sum()
                errors[one.family, one.name].append(found)
    ours, naives = defaultdict(list), defaultdict(list)
    for (family, _name), found in errors.items():
        middle = np.median(found, axis=0)
        ours[family].append(middle[0])
        naives[family].append(middle[1])
    for family in ours:
        assert np.median(ours[family]) <= 1.02 * np.median(naives[family]), family
    for covered in (inside, sums):
        assert 0.92 <= np.mean([np.mean(of) for of in covered.values()]) <= 0.985
        for family, of in covered.items():
            assert np.mean(of) >= 0.85, family


def origins(one: Daily) -> list[int]:
    first = 8 * WEEK if len(one.values) > 10 * WEEK else WEEK
    return sorted({round(at) for at in np.linspace(first, len(one.values) - WEEK, ORIGINS)})
