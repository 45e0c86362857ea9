"""Detection over many series: a fold over time that never looks ahead.

A day at a time: fit what is expected from the days before, then take the day's
steps one by one. The state of a series is a checkpoint at the start of a day (UTC); the steps
since are taken again by the next run, which makes a run from a state the same as one over
the whole series. Needs numpy: for worker processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from costmeter.analysis.anomaly.fold import Fold
from costmeter.analysis.anomaly.shapes import (
    Acknowledgement,
    Detection,
    Finding,
    Reading,
    Scope,
    Series,
    Settings,
    State,
)
from costmeter.model import MS_PER_DAY

#: Series that are folded together: large enough for numpy, small enough for its cache.
_TOGETHER = 256
#: Beyond the lookback: last month's same day is asked on the first and last days of a month.
_MONTH_DAYS = 34


def history_days(settings: Settings) -> int:
    """How many days before `now` a series has to hold for a run from its state."""
    return max(settings.lookback_days, _MONTH_DAYS) + settings.learn_days + 1


def detect(
    series: Series,
    now_ms: int,
    settings: Settings | None = None,
    acknowledged: Iterable[Acknowledgement] = (),
    state: State | None = None,
) -> Detection:
    """`detect_many` for one series."""
    states = {} if state is None else {(series.scope, series.step_ms): state}
    return detect_many([series], now_ms, settings, acknowledged, states)


def detect_many(
    series: Sequence[Series],
    now_ms: int,
    settings: Settings | None = None,
    acknowledged: Iterable[Acknowledgement] = (),
    states: Mapping[tuple[Scope, int], State] | None = None,
) -> Detection:
    """Incidents of each series up to `now_ms`, from its state or from its first step.

    Only steps that have ended by `now_ms` and before the series' `final_until_ms` are read.
    A series with a state needs its last `history_days`; without one, all of it is judged as
    if it had been watched from the start. The same scope and step given twice is a ValueError.
    """
    settings = settings or Settings()
    states = states or {}
    keys = [(one.scope, one.step_ms) for one in series]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the series {twice[0]} is given twice")
    said: dict[Scope, list[Acknowledgement]] = {}
    for one in acknowledged:
        said.setdefault(one.scope, []).append(one)
    findings: list[Finding] = []
    readings: list[Reading] = []
    after: dict[tuple[Scope, int], State] = {}
    for _, group in groupby(sorted(series, key=_shape), key=_shape):
        alike = list(group)
        for first in range(0, len(alike), _TOGETHER):
            chunk = alike[first : first + _TOGETHER]
            known = [states.get((one.scope, one.step_ms)) for one in chunk]
            asked = [said.get(one.scope, []) for one in chunk]
            fold = Fold(chunk, known, asked, settings)
            fold.run(now_ms)
            findings += fold.findings()
            readings += fold.readings()
            after.update(fold.states)
    findings.sort(key=lambda one: (one.detected_ms, one.step_ms, one.scope))
    return Detection(tuple(findings), tuple(readings), after)


def _shape(series: Series) -> tuple[int, int, int]:
    """Series of one grid are folded together; the last day of a grid may be cut short."""
    days = -(-len(series.nano) * series.step_ms // MS_PER_DAY)
    return (series.step_ms, series.start_ms, days)
