"""One series on its way through time: its values, its mask, its incidents, its state."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from costmeter.analysis.anomaly.incidents import Incident, restored
from costmeter.analysis.anomaly.robust import Floats
from costmeter.analysis.anomaly.shapes import (
    Acknowledgement,
    Baseline,
    Series,
    Settings,
    State,
)
from costmeter.model import MS_PER_DAY

#: What a step is good for: learned from; in an open incident; out of line, planned or unknown.
USED, OPEN, JUDGED = 0, 1, 2

#: A drift that was raised, or a level that was learned, is not raised again so soon.
_DRIFT_REST_MS = 14 * MS_PER_DAY
#: Past the alarm, an incident goes on while it is above half of it: no flapping at the line.
HALF = 0.5
#: Steps that a new level needs before it is learned.
_LEAST_HOURS, _LEAST_DAYS = 12, 2


class Track:
    """Arrays have a column a step; `fold` stacks them and hands rows of the stack back."""

    def __init__(
        self,
        series: Series,
        state: State | None,
        said: Sequence[Acknowledgement],
        settings: Settings,
        steps: int,
        per_day: int,
    ) -> None:
        self.series, self.settings, self.per_day = series, settings, per_day
        self.key = (series.scope, series.step_ms)
        self.actual: Floats = np.full(steps, np.nan)
        values = [np.nan if value is None else float(value) for value in series.nano]
        self.actual[: len(values)] = values
        self.born_ms = self._birth() if state is None else int(state["born_ms"])
        self.actual[: max(self._column(self.born_ms), 0)] = np.nan
        known = ~np.isnan(self.actual)
        self.tested: NDArray[np.bool_] = known.copy()
        for hidden in (series.late, series.planned):
            self.tested[[at for at in hidden if 0 <= at < steps]] = False
        self.said = sorted(said, key=lambda one: (one.known_ms, one.at_ms))
        self.breaks: list[tuple[int, float]] = []
        self.learned: set[tuple[int, int]] = set()
        self.fast: Incident | None = None
        self.slow: Incident | None = None
        self.offset, self.rest_ms = 0.0, 0
        self.use: NDArray[np.int8] = np.zeros(steps, np.int8)
        if state is None:
            first = -(-max(self._column(self.born_ms), 0) // per_day) * per_day
            self.begin = first + settings.minimum_days * per_day
            self.unit = self._unit(self.actual[: self.begin])
        else:
            self._restore(state)
        #: What can be neither tested nor learned from, whatever else is decided about it.
        self.hidden: NDArray[np.bool_] = ~known
        self.hidden[[at for at in series.planned if 0 <= at < steps]] = True
        self.use[self.hidden] = JUDGED
        self.bent: Floats = np.arcsinh(self.actual / self.unit)
        for at_ms, delta in self.breaks:
            self.bent[: max(self._column(at_ms), 0)] += delta
        self.incidents = self._going_on()

    def end(self, now_ms: int) -> int:
        """The column after the last one that may be looked at."""
        until = min(now_ms, self.series.final_until_ms)
        return max(0, min(len(self.series.nano), self._column(until)))

    def asked(self, at: int) -> bool:
        """True while somebody's word stands for this step: neither tested nor learned yet."""
        at_ms = self.instant(at)
        waiting = False
        for one in self.said:
            mark = (one.at_ms, one.known_ms)
            if max(one.known_ms, one.at_ms) > at_ms or mark in self.learned:
                continue
            waiting = True
            since = max(self._column(one.at_ms), 0)
            for incident in (self.fast, self.slow):
                if incident is not None:
                    incident.ended = "acknowledged"
            if self.fast is not None:
                before = slice(max(self._column(self.fast.first_ms), 0), since)
                self.use[before] = np.where(self.use[before] == OPEN, JUDGED, self.use[before])
            self.fast = self.slow = None
            span = slice(since, at + 1)
            self.use[span] = np.where(self.hidden[span], JUDGED, OPEN)
        return waiting

    def relearn(self, at: int, begin: int, expected: Floats) -> bool:
        """Before day `at`: moves the past to a level that was acknowledged or that lasted.

        `expected` are the columns from `begin` on. True when something has changed.
        """
        changed = False
        at_ms = self.instant(at)
        for one in self.said:
            mark = (one.at_ms, one.known_ms)
            if one.known_ms < at_ms and mark not in self.learned and one.at_ms < at_ms:
                first = max(self._column(one.at_ms), begin)
                least = _LEAST_HOURS if self.per_day > 1 else _LEAST_DAYS
                if self._move(first, first, at, begin, expected, least):
                    self.learned.add(mark)
                    changed = True
        fast, learn = self.fast, self.settings.learn_days
        if fast is not None and at_ms - fast.first_ms >= learn * MS_PER_DAY:
            first = max(self._column(fast.first_ms), begin)
            recent = max(first, at - learn * self.per_day)
            if self._move(first, recent, at, begin, expected, 1):
                fast.ended = "learned"
                self.fast, changed = None, True
        return changed

    def over(self, at: int, quiet_ms: int, window: int) -> bool:
        """Ends the open incident after a quiet time; a long one becomes a shift. True: ended."""
        fast = self.fast
        if fast is None:
            return False
        if fast.kind == "point" and fast.last_long(self.series.step_ms, window):
            fast.kind = "level-shift"
        if self.instant(at) - fast.last_ms < quiet_ms:
            return False
        fast.ended = "back"
        first, last = max(self._column(fast.first_ms), 0), self._column(fast.last_ms)
        cut, tail = slice(first, last + 1), slice(max(last + 1, 0), at + 1)
        self.use[cut] = np.where(self.use[cut] == OPEN, JUDGED, self.use[cut])
        self.use[tail] = np.where(self.use[tail] == OPEN, USED, self.use[tail])
        self.fast = None
        return True

    def drift(self, at: int, score: float, sums: tuple[int, int]) -> None:
        """The week before day `at` is off the weeks before it by `score`."""
        at_ms, sigma = self.instant(at), self.settings.sensitivity_sigma
        last_ms = at_ms - self.series.step_ms
        slow = self.slow
        if slow is not None:
            same = score * slow.sign
            if at_ms - slow.detected_ms >= self.settings.learn_days * MS_PER_DAY:
                slow.ended, self.slow = "learned", None
            elif not same >= HALF * sigma:
                slow.ended, self.slow = "back", None
            else:
                slow.last_ms, slow.score = last_ms, max(slow.score, same)
            return
        if abs(score) < sigma or at_ms < self.rest_ms or self.fast is not None:
            return
        if abs(sums[1] - sums[0]) < max(self.settings.floor_nano, 1):
            return
        first_ms = max(at_ms - 7 * MS_PER_DAY, self.series.start_ms)
        sign = 1 if score > 0 else -1
        base = statistics(self, at)
        self.slow = Incident(
            "slow-drift", sign, abs(score), last_ms, first_ms, last_ms, *sums, base
        )
        self.incidents.append(self.slow)
        self.rest_ms = at_ms + _DRIFT_REST_MS

    def baseline(self, at: int) -> Baseline:
        return Baseline(*statistics(self, at))

    def saved(self, at: int, offset: float) -> State:
        """The checkpoint before day `at`; `Track` with it goes on from there."""
        runs, column = [], 0
        # What is hidden is asked again by the next run: it may be known by then.
        marks = np.where(self.hidden[:at], USED, self.use[:at])
        for use, group in groupby(marks.tolist()):
            length = len(list(group))
            if use != USED:
                runs.append([self.instant(column), self.instant(column + length), use])
            column += length
        return {
            "at_ms": self.instant(at),
            "born_ms": self.born_ms,
            "unit": self.unit,
            "offset": offset,
            "rest_ms": self.rest_ms,
            "breaks": [list(one) for one in self.breaks],
            "learned": sorted(list(one) for one in self.learned),
            "runs": runs,
            "fast": None if self.fast is None else self.fast.saved(),
            "slow": None if self.slow is None else self.slow.saved(),
        }

    def _restore(self, state: State) -> None:
        self.begin = self._column(int(state["at_ms"]))
        if self.begin < 0:
            raise ValueError("the state is older than the series: give more history")
        self.unit = float(state["unit"])
        self.offset, self.rest_ms = float(state["offset"]), int(state["rest_ms"])
        self.breaks = [(int(at_ms), float(delta)) for at_ms, delta in state["breaks"]]
        self.learned = {(int(first), int(second)) for first, second in state["learned"]}
        self.fast, self.slow = restored(state["fast"]), restored(state["slow"])
        for from_ms, until_ms, use in state["runs"]:
            first, last = self._column(from_ms), self._column(until_ms)
            self.use[max(first, 0) : max(last, 0)] = use

    def _move(
        self, first: int, recent: int, at: int, begin: int, expected: Floats, least: int
    ) -> bool:
        """Lifts everything before `first` by what the steps from `recent` on are off."""
        off = self.bent[recent:at] - expected[recent - begin : at - begin]
        off[self.hidden[recent:at]] = np.nan
        off = off[~np.isnan(off)]
        if len(off) < least:
            return False
        delta = float(np.median(off))
        self.bent[:first] += delta
        self.breaks.append((self.instant(first), delta))
        cut = self.use[first:at]
        self.use[first:at] = np.where(cut == OPEN, USED, cut)
        self.offset, self.rest_ms = 0.0, self.instant(at) + _DRIFT_REST_MS
        return True

    def _going_on(self) -> list[Incident]:
        return [one for one in (self.fast, self.slow) if one is not None]

    def _birth(self) -> int:
        """The instant of the first amount; the end of the series where there is none."""
        spent = np.flatnonzero(np.nan_to_num(self.actual) != 0)
        return self.instant(int(spent[0]) if len(spent) else len(self.series.nano))

    def _unit(self, first_days: Floats) -> float:
        """An ordinary amount: well above it the scale is proportional, below it even."""
        spent = np.abs(first_days[np.nan_to_num(first_days) != 0])
        return float(np.mean(spent)) if len(spent) else 1.0

    def _column(self, at_ms: int) -> int:
        return (at_ms - self.series.start_ms) // self.series.step_ms

    def instant(self, column: int) -> int:
        return self.series.start_ms + column * self.series.step_ms


def statistics(track: Track, at: int) -> tuple[int, int, int, int, int]:
    """Steps, mean, deviation, p95 and p99 of the lookback before `at`, without incidents."""
    begin = max(0, at - track.settings.lookback_days * track.per_day)
    values = track.actual[begin:at][track.use[begin:at] == USED]
    if not len(values):
        return (0, 0, 0, 0, 0)
    p95, p99 = np.quantile(values, (0.95, 0.99))
    mean, deviation = float(values.mean()), float(values.std())
    return len(values), round(mean), round(deviation), round(float(p95)), round(float(p99))
