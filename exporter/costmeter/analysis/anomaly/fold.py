"""The fold of `detect`: series of one grid, day by day, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from costmeter.analysis.anomaly.baseline import Fit, Windows, fit
from costmeter.analysis.anomaly.raising import HALF, go_on, raise_incident
from costmeter.analysis.anomaly.robust import Floats, mean, threshold
from costmeter.analysis.anomaly.shapes import (
    Acknowledgement,
    Finding,
    Reading,
    Scope,
    Series,
    Settings,
    State,
)
from costmeter.analysis.anomaly.slots import slots_of
from costmeter.analysis.anomaly.track import JUDGED, OPEN, USED, Track
from costmeter.model import MS_PER_DAY

#: Steps out of line within this time are one incident.
_QUIET_HOURS = 12
#: Weeks of history before the same hour of last week is no longer asked beside the season.
_FEW_WEEKS = 3
#: A window that is rolled step by step has about so many independent looks each width.
_ROLLED = 4
#: A step to the next hour's season is an edge if it is this share of what would alarm.
_EDGE = 0.5
_WEEK = 7
_MONTH_DAYS = 30


class Fold:
    """Takes series of one start and step through time; see `detect`."""

    def __init__(
        self,
        series: Sequence[Series],
        states: Sequence[State | None],
        acknowledged: Sequence[Sequence[Acknowledgement]],
        settings: Settings,
    ) -> None:
        self.settings = settings
        self.start_ms, self.step_ms = series[0].start_ms, series[0].step_ms
        self.per_day = MS_PER_DAY // self.step_ms
        days = max(-(-len(one.nano) // self.per_day) for one in series)
        self.steps = days * self.per_day
        hourly = self.per_day > 1
        # Daily: three days are a shift. Both windows are counted as independent tests.
        shift = self.per_day if hourly else 3
        tests = _MONTH_DAYS * self.per_day
        sigma = settings.sensitivity_sigma
        self.windows = Windows(
            shift,
            _WEEK * self.per_day,
            threshold(sigma, tests),
            threshold(sigma, _ROLLED * _MONTH_DAYS * self.per_day // shift),
            threshold(sigma, _MONTH_DAYS // _WEEK),
        )
        self.quiet_ms = (_QUIET_HOURS if hourly else 24) * 3_600_000
        self.slots = slots_of(self.start_ms, self.step_ms, self.steps, settings.timezone)
        self.tracks = [
            Track(one, state, said, settings, self.steps, self.per_day)
            for one, state, said in zip(series, states, acknowledged, strict=True)
        ]
        rows = range(len(series))
        self.actual: Floats = np.stack([self.tracks[row].actual for row in rows])
        self.bent: Floats = np.stack([self.tracks[row].bent for row in rows])
        self.use: NDArray[np.int8] = np.stack([self.tracks[row].use for row in rows])
        for row in rows:  # each track keeps writing to its own row
            self.tracks[row].bent, self.tracks[row].use = self.bent[row], self.use[row]
        self.unit = np.array([track.unit for track in self.tracks])
        self.begin = np.array([track.begin for track in self.tracks], np.intp)
        self.tested: NDArray[np.bool_] = np.stack([track.tested for track in self.tracks])
        self.offset = np.array([track.offset for track in self.tracks])
        self.states: dict[tuple[Scope, int], State] = {}
        self.watched = np.array(
            [track.fast is not None or bool(track.said) for track in self.tracks], np.bool_
        )
        self.last_at = np.full(len(series), -1, np.intp)
        self.last: Floats = np.zeros((len(series), 3))

    def run(self, now_ms: int) -> None:
        ends = np.array([track.end(now_ms) for track in self.tracks], np.intp)
        marks = ends - ends % self.per_day
        for at in range(int(self.begin.min()), int(ends.max()) + 1, self.per_day):
            for row in map(int, np.flatnonzero((marks == at) & (self.begin <= at))):
                track = self.tracks[row]
                self.states[track.key] = track.saved(at, float(self.offset[row]))
            rows = np.flatnonzero((self.begin <= at) & (at < ends))
            if len(rows):
                self._day(rows, at, ends)

    def findings(self) -> list[Finding]:
        sigma, floor = self.settings.sensitivity_sigma, self.settings.floor_nano
        return [
            incident.finding(track.series.scope, self.step_ms, sigma, floor)
            for track in self.tracks
            for incident in track.incidents
        ]

    def readings(self) -> list[Reading]:
        found = []
        for row in np.flatnonzero(self.last_at >= 0):
            track, at = self.tracks[row], int(self.last_at[row])
            score, expected, actual = map(float, self.last[row])
            found.append(
                Reading(
                    track.series.scope,
                    self.step_ms,
                    self.start_ms + at * self.step_ms,
                    round(score, 2),
                    round(expected),
                    round(actual),
                    track.baseline(at),
                )
            )
        return found

    def _day(self, rows: NDArray[np.intp], at: int, ends: NDArray[np.intp]) -> None:
        begin = max(0, at - self.settings.lookback_days * self.per_day)
        model = self._fit(rows, at, begin)
        again = [
            place
            for place, row in enumerate(rows)
            if self.tracks[row].relearn(at, begin, model.expected[place])
        ]
        if again:
            model = self._fit(rows, at, begin)
        past = at - begin
        stray = np.full((len(rows), past + self.per_day), np.nan)
        use = self.use[rows, begin:at]
        off = self.bent[rows, begin:at] - model.expected[:, :past]
        off = np.where(use == OPEN, off, model.residual)
        tested = self.tested[rows, begin:at]
        stray[:, :past] = np.where((use == JUDGED) | ~tested, np.nan, off)
        for column in range(max(past + 1 - self.windows.shift, 0), past):
            low, high = self._alike(rows, begin + column, model)
            bent = self.bent[rows, begin + column]
            wide = (low < high) & ~np.isnan(stray[:, column])
            stray[:, column] = np.where(wide, bent - np.clip(bent, low, high), stray[:, column])
        self._drifts(rows, at, model)
        for step in range(self.per_day):
            self._step(rows, at + step, model, stray, ends)

    def _fit(self, rows: NDArray[np.intp], at: int, begin: int) -> Fit:
        past = slice(begin, at)
        learned = np.where(self.use[rows, past] == USED, self.bent[rows, past], np.nan)
        return fit(learned, self.tested[rows, past], at, begin, self.slots, self.windows)

    def _drifts(self, rows: NDArray[np.intp], at: int, model: Fit) -> None:
        sigma = self.settings.sensitivity_sigma
        scores = model.drift / model.alarm_drift * sigma
        week = slice(max(at - _WEEK * self.per_day, 0), at)
        for place, row in enumerate(rows):
            track, score = self.tracks[row], float(scores[place])
            if not (abs(score) >= HALF * sigma or track.slow):
                continue
            actual = self.actual[row, week]
            before = self.unit[row] * np.sinh(self.bent[row, week] - model.drift[place])
            known = (self.use[row, week] == USED) & self.tested[row, week] & np.isfinite(before)
            sums = (round(before[known].sum()), round(actual[known].sum()))
            track.drift(at, score, sums)

    def _step(
        self,
        rows: NDArray[np.intp],
        at: int,
        model: Fit,
        stray: Floats,
        ends: NDArray[np.intp],
    ) -> None:
        column = at - model.begin
        sigma, per_day = self.settings.sensitivity_sigma, self.per_day
        bent, actual = self.bent[rows, at], self.actual[rows, at]
        expected = model.expected[:, column]
        low, high = self._alike(rows, at, model)
        over = bent - np.clip(bent, low, high)
        live = self.tested[rows, at] & (at < ends[rows])
        stray[:, column] = np.where(live, over, np.nan)
        # The mean of the last day, as far as it carries; kept as it was during an incident.
        back = slice(max(column - max(per_day, 3), 0), column)
        calm = np.where(
            self.use[rows, model.begin + back.start : at] == USED, stray[:, back], np.nan
        )
        up, down = model.alarm_up[:, column], model.alarm_down[:, column]
        lately = mean(np.clip(calm, -down[:, None], up[:, None]))
        enough = np.sum(~np.isnan(calm), axis=1) >= (back.stop - back.start) / 2
        offset = np.where(enough & ~np.isnan(lately), model.carry * lately, self.offset[rows])
        self.offset[rows] = offset
        moved = bent - offset
        moved -= np.clip(moved, low, high)
        point = moved / np.where(moved > 0, up, down) * sigma
        recent = stray[:, max(column + 1 - self.windows.shift, 0) : column + 1]
        known = np.sum(~np.isnan(recent), axis=1) >= max(2, self.windows.shift / 2)
        shift = np.where(known, mean(recent) / model.alarm_shift * sigma, 0.0)
        now = self.unit[rows] * np.sinh(expected + offset)
        seen = rows[live]
        self.last_at[seen] = at
        self.last[seen] = np.stack([point, now, actual], axis=1)[live]
        hot = live & ((np.abs(point) >= sigma) | (np.abs(shift) >= sigma))
        for place in map(int, np.flatnonzero((hot | self.watched[rows]) & (at < ends[rows]))):
            row = int(rows[place])
            track = self.tracks[row]
            scores = float(point[place]), float(shift[place])
            if track.asked(at):
                stray[place, column] = np.nan
            elif track.fast is not None:
                if live[place]:
                    stays = over[place] / model.alarm_shift[place] * sigma
                    go_on(track, at, sigma, (*scores, float(stays)), float(now[place]))
                if track.over(at, self.quiet_ms, self.windows.shift):
                    self._forget(track, stray[place, : column + 1], model.begin)
            elif hot[place]:
                start = max(column + 1 - self.windows.shift, 0)
                usual = model.expected[place, start : column + 1]
                raise_incident(
                    track, at, scores, float(now[place]), usual, stray[place, start : column + 1]
                )
            self.watched[row] = track.fast is not None or bool(track.said)

    def _alike(self, rows: NDArray[np.intp], at: int, model: Fit) -> tuple[Floats, Floats]:
        """The span of what would be ordinary: the model, and what it cannot know yet.

        Until the season rests on weeks enough, the same hour of last week; at the turn of a
        month, the same day of last month.
        """
        expected = model.expected[:, at - model.begin]
        low, high = expected.copy(), expected.copy()
        reach = (-1, 0, 1) if self.per_day > 1 else (0,)
        week = at - _WEEK * self.per_day
        few = model.weeks < _FEW_WEEKS
        for source, wanted in ((week, few), (int(self.slots.last_month[at]), np.ones_like(few))):
            for near in reach:
                if source < 0 or not 0 <= source + near < at:
                    continue
                values = self.bent[rows, source + near]
                if source == week:
                    values = np.where(self.use[rows, source + near] == USED, values, np.nan)
                low = np.where(wanted, np.fmin(low, values), low)
                high = np.where(wanted, np.fmax(high, values), high)
        if self.per_day > 1:
            # A season's step may come an hour early or late: clocks change, jobs wait.
            column = at - model.begin
            last = model.expected.shape[1] - 1
            edge = _EDGE * np.minimum(model.alarm_up[:, column], model.alarm_down[:, column])
            for near in (max(column - 1, 0), min(column + 1, last)):
                side = model.expected[:, near]
                side = np.where(np.abs(side - expected) > edge, side, expected)
                low, high = np.minimum(low, side), np.maximum(high, side)
        return low, high

    @staticmethod
    def _forget(track: Track, stray: Floats, begin: int) -> None:
        """A step that was judged once counts for no later shift."""
        stray[track.use[begin : begin + len(stray)] != USED] = np.nan
