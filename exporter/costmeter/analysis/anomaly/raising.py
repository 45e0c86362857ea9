"""When a step raises an incident, and when one goes on."""

from __future__ import annotations

import numpy as np

from costmeter.analysis.anomaly.incidents import Incident
from costmeter.analysis.anomaly.robust import Floats
from costmeter.analysis.anomaly.shapes import Kind
from costmeter.analysis.anomaly.track import HALF, JUDGED, OPEN, USED, Track, statistics

__all__ = ["HALF", "go_on", "raise_incident"]


def raise_incident(
    track: Track,
    at: int,
    scores: tuple[float, float],
    expected: float,
    usual: Floats,
    stray: Floats,
) -> None:
    """Opens an incident at step `at` if its size is above the floor.

    `scores` are those of the step and of the shift window; `usual` (bent) and `stray` are the
    window's expected values and what is out of line, up to and with this step.
    """
    sigma, floor = track.settings.sensitivity_sigma, max(track.settings.floor_nano, 1)
    point, shift = scores
    kind: Kind = "point"
    first, score = at, point
    before, amount = round(expected), round(float(track.actual[at]))
    if abs(point) < sigma or abs(amount - before) < floor:
        if abs(shift) < sigma:
            return
        kind, score = "level-shift", shift
        # It began where the sum of what is out of line, counted back from now, is largest.
        out = np.sign(shift) * np.nan_to_num(stray)
        start = int(np.argmax(np.cumsum(out[::-1])[::-1]))
        first = at + 1 - len(stray) + start
        cut = slice(first, at + 1)
        known = ~np.isnan(track.actual[cut]) & (track.use[cut] != JUDGED) & track.tested[cut]
        before = round(float((track.unit * np.sinh(usual[start:]))[known].sum()))
        amount = round(float(track.actual[cut][known].sum()))
        if abs(amount - before) < floor:
            return
    track.fast = Incident(
        kind,
        1 if score > 0 else -1,
        abs(score),
        track.instant(at),
        track.instant(first),
        track.instant(at),
        before,
        amount,
        statistics(track, at),
        hot=at - first + 1,
    )
    track.incidents.append(track.fast)
    cut = slice(first, at + 1)
    track.use[cut] = np.where(track.use[cut] == USED, OPEN, track.use[cut])


def go_on(
    track: Track, at: int, sigma: float, scores: tuple[float, float, float], expected: float
) -> None:
    """Takes step `at` into the open incident.

    `scores` are those of the step, of the shift window, and of how much this step alone adds
    to the latter.
    """
    incident = track.fast
    assert incident is not None
    point, shift, here = (score * incident.sign for score in scores)
    hot, score = point >= HALF * sigma, point
    if incident.kind == "level-shift":
        # The window's mean stays high for a while after the end: this step has to be, too.
        hot = hot or (shift >= HALF * sigma and here >= HALF * sigma)
        score = max(point, shift)
    amount = round(float(track.actual[at]))
    incident.grow(track.instant(at), score, round(expected), amount, hot)
    if track.use[at] == USED:
        track.use[at] = OPEN
