"""Forecasts of daily cost: plain results here, the arithmetic in a worker process.

Importing this package imports no numpy. `run_worker` is what the engine calls; `score` and
`to_period_end` work on stored results.
"""

from costmeter.analysis.forecast.results import (
    HORIZONS,
    Character,
    Forecast,
    Interval,
    Intervals,
    Quality,
    Score,
    score,
    to_period_end,
)
from costmeter.analysis.forecast.run import Answer, WorkerError, run_worker
from costmeter.analysis.forecast.wire import Grown, Request, encode, pack, unpack

__all__ = [
    "HORIZONS",
    "Answer",
    "Character",
    "Forecast",
    "Grown",
    "Interval",
    "Intervals",
    "Quality",
    "Request",
    "Score",
    "WorkerError",
    "encode",
    "pack",
    "run_worker",
    "score",
    "to_period_end",
    "unpack",
]
