"""AWS's own forecast of the rest of the month, with its 80 and 95 % intervals."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from costmeter.model import MS_PER_DAY, NANO_PER_USD
from costmeter.sources.aws_client import Aws, Call
from costmeter.sources.contract import Desk, Forecast, SourceError
from costmeter.sources.reading import Row, amount, date_of, group, malformed, nano, rows, text

_log = logging.getLogger("costmeter.sources")

LEVELS = (80, 95)
#: Each request to Cost Explorer, and each further page of its answer.
NANO_PER_REQUEST = NANO_PER_USD // 100


class Forecasts:
    """Asked once a UTC day: the bill is more important, so a failure here is only logged."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._day = -1
        self._said = ""

    def ask(self, aws: Aws, desk: Desk, region: str, now_ms: int) -> Forecast | None:
        """The forecast of now; None where it is not known, or was asked for today."""
        if now_ms // MS_PER_DAY == self._day:
            return None
        try:
            found = _read(aws, desk, region, now_ms)
        except SourceError as error:
            if error.reason == "stopped":
                raise
            if str(error) != self._said:
                _log.warning(
                    "source %s has no forecast: %s: %s; option forecast=false asks for none",
                    self._name, error.reason, error,
                )  # fmt: skip
            self._said = str(error)
            return None
        self._day, self._said = now_ms // MS_PER_DAY, ""
        return found


def _read(aws: Aws, desk: Desk, region: str, now_ms: int) -> Forecast | None:
    what = Call("ce", region, "get_cost_forecast", "ForecastResultsByTime", NANO_PER_REQUEST)
    today, until_ms = now_ms - now_ms % MS_PER_DAY, next_month_ms(now_ms)
    figures: list[tuple[str, int]] = []
    for level in LEVELS:
        asked = {
            "TimePeriod": {"Start": date_of(today), "End": date_of(until_ms)},
            # By month, because the ends of days do not add up to the ends of their sum.
            "Granularity": "MONTHLY",
            "Metric": "NET_AMORTIZED_COST",
            "PredictionIntervalLevel": level,
        }
        answer = aws.call(desk, what, asked)
        total = group(answer, "Total")
        if text(total, "Unit").upper() != "USD":
            return None  # the metric is in USD
        results = rows(answer, "ForecastResultsByTime")
        if len(results) != 1:
            raise malformed("ForecastResultsByTime", "expected one month")
        if not figures:
            figures.append(("mean", _usd(total, "Amount")))
        figures.append((f"lower_{level}", _usd(results[0], "PredictionIntervalLowerBound")))
        figures.append((f"upper_{level}", _usd(results[0], "PredictionIntervalUpperBound")))
    return Forecast(until_ms, tuple(figures))


def _usd(row: Row, name: str) -> int:
    return nano(amount(row.get(name), name))


def next_month_ms(now_ms: int) -> int:
    """When the UTC month after this one begins."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000
