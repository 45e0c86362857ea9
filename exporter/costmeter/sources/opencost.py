"""OpenCost: what a Kubernetes cluster costs by namespace, or what it allocated by the hour.

Shape: `GET /allocation` of OpenCost's documentation; Kubecost answers the same below
/model. One question a day: a set of allocations for each step within it. A source reads
either costs or usage, never both, because they are of the same hours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from costmeter.model import MS_PER_DAY, MS_PER_HOUR
from costmeter.sources.buckets import closed_until
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, SourceError, Window
from costmeter.sources.gather import Charges, Counts
from costmeter.sources.http import Api
from costmeter.sources.opencost_fields import COSTS, TOTAL, USAGE, figure, pieces
from costmeter.sources.opencost_owners import AllocationOwners
from costmeter.sources.options import Options
from costmeter.sources.owners import identity, line_name
from costmeter.sources.reading import Row, instant_ms, malformed, rfc3339, text

RHYTHM = Rhythm(every_seconds=3_600, restated_days=2, lookback_days=7, step_days=1)
FINAL_AFTER_DAYS = 2
YIELDS = ("costs", "usage")
METERS = tuple(USAGE)
#: What the sum of the kinds may differ from OpenCost's own total: its floats add up so.
_TOLERANCE = Decimal("0.000001")
_CURRENCY = re.compile("[A-Z]{3}")


class OpenCost:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        if not settings.base_url:
            raise ValueError("a source of kind opencost needs base_url, the address of OpenCost")
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._api = Api(
            settings.base_url, settings.secret, timeout_seconds=settings.timeout_seconds
        )
        self._yields = options.word("yields", YIELDS[0], YIELDS)
        self._idle = options.switch("idle", default=True)
        self._share_idle = options.switch("share_idle", default=False)
        # GPUs are metered by agents, mostly.
        default = tuple(name for name in METERS if name != "gpu")
        self._meters = options.several("meters", default, METERS)
        self._owners = AllocationOwners(settings, options)
        self._currency = options.word("currency", "USD")
        self._final_after_days = options.whole("final_after_days", FINAL_AFTER_DAYS)
        options.finish("opencost")
        if not _CURRENCY.fullmatch(self._currency):
            raise ValueError(f"option currency={self._currency} is no code like USD")

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        until_ms = closed_until(window, MS_PER_HOUR)
        for since_ms in range(window.since_ms, until_ms, MS_PER_DAY):
            end_ms = min(since_ms + MS_PER_DAY, until_ms)
            if self._yields == "costs":
                yield self._bill(desk, window.now_ms, since_ms, end_ms)
            else:
                yield self._used(desk, since_ms, end_ms)

    def _bill(self, desk: Desk, now_ms: int, since_ms: int, end_ms: int) -> Page:
        charges = Charges(now_ms, self._final_after_days)
        for _, name, row in self._allocations(desk, since_ms, end_ms, MS_PER_DAY):
            rest = figure(row, TOTAL)
            for kind, (category, fields) in COSTS.items():
                amount = sum((figure(row, field) for field in fields), Decimal())
                rest -= amount
                self._charge(charges, since_ms, name, kind, category, amount)
            # A kind of cost that a later version adds must not be lost.
            if row.get(TOTAL) is not None and abs(rest) > _TOLERANCE:
                self._charge(charges, since_ms, name, "other", "managed_services", rest)
        # A line is its whole day's, also while the day lasts.
        return Page("allocation", since_ms, since_ms + MS_PER_DAY, (), charges.take())

    def _charge(
        self, charges: Charges, day_ms: int, name: str, kind: str, category: str, amount: Decimal
    ) -> None:
        if amount:
            labels = self._owners.labels(name, "", category, nobody="")
            line = line_name(name, kind)
            charges.add(day_ms, line, labels, amount, self._currency, "usage")

    def _used(self, desk: Desk, since_ms: int, end_ms: int) -> Page:
        counts = Counts()
        for at_ms, name, row in self._allocations(desk, since_ms, end_ms, MS_PER_HOUR):
            for meter in self._meters:
                used = USAGE[meter]
                counts.add(
                    identity("allocation", at_ms, {"allocation": name, "meter": meter}),
                    at_ms,
                    self._owners.labels(name, used.model, used.category),
                    {used.quantity: pieces(row, used)},
                    detail={"allocation": name},
                )
        return Page("allocation", since_ms, end_ms, counts.take(), ())

    def _allocations(
        self, desk: Desk, since_ms: int, end_ms: int, step_ms: int
    ) -> Iterator[tuple[int, str, Row]]:
        """When its set begins, its name, and the allocation; each once."""
        answer = self._api.get(
            desk,
            "/allocation",
            [
                ("window", f"{rfc3339(since_ms)},{rfc3339(end_ms)}"),
                ("aggregate", self._owners.aggregate),
                ("step", "1d" if step_ms == MS_PER_DAY else "1h"),
                ("accumulate", "false"),
                ("includeIdle", "true" if self._idle else "false"),
                ("shareIdle", "true" if self._share_idle else "false"),
            ],
        )
        seen: set[tuple[int, str]] = set()
        for found in _sets(answer):
            for name, row in found.items():
                if not isinstance(row, dict):
                    raise malformed(f"data.{name[:100]}", "expected an object")
                at_ms = _begins_ms(row)
                if not since_ms <= at_ms < end_ms or (at_ms - since_ms) % step_ms:
                    raise malformed("window.start", "is not a step of the day that was asked for")
                if (at_ms, name) in seen:
                    raise SourceError("repeated_page", "an allocation came twice")
                seen.add((at_ms, name))
                yield at_ms, name, row


def _sets(answer: Row) -> Iterator[Row]:
    code = answer.get("code", 200)
    if code != 200:
        said = text(answer, "message") or "no message"
        server = isinstance(code, int) and code >= 500
        raise SourceError("server" if server else "request", f"OpenCost says {code}: {said}")
    if "data" not in answer:
        raise malformed("data", "missing")
    data = answer["data"]
    if data is not None and not isinstance(data, list):
        raise malformed("data", "expected a list of sets")
    for found in data or ():
        # A set without allocations is null or {}.
        if found is not None and not isinstance(found, dict):
            raise malformed("data", "expected a list of sets")
        yield found or {}


def _begins_ms(row: Row) -> int:
    """When the set begins that an allocation is of; its own `start` may be later."""
    window = row.get("window")
    if not isinstance(window, dict):
        raise malformed("window", "missing")
    return instant_ms(window, "start")
