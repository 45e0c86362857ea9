"""The job `anomalies`: every hour all scopes are looked at, and what is found is stored.

Metered spend goes by the hour. Scopes that live of bills go by the day, as far as their days
are final. The arithmetic runs in the worker's process, the writer only stores.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from sqlite3 import Connection

from msgspec import Struct
from msgspec.structs import replace

from costmeter.analysis.anomaly.explain import Part, expect_shares, explain
from costmeter.analysis.anomaly.run import DetectionError, run_worker
from costmeter.analysis.anomaly.shapes import (
    DAILY_MS,
    HOURLY_MS,
    Acknowledgement,
    Detection,
    Finding,
    Reading,
    Series,
    Settings,
    Share,
    State,
)
from costmeter.analysis.anomaly.shapes import Scope as Pairs
from costmeter.analysis.anomaly.wire import write_request
from costmeter.clock import Clock
from costmeter.config import Config
from costmeter.engine import anomaly_documents as stored
from costmeter.engine.anomaly_documents import Day
from costmeter.engine.forecasts import lag_of
from costmeter.engine.terms import budgets_of
from costmeter.ledger import documents
from costmeter.ledger.budget_periods import due_between
from costmeter.ledger.daily import LEDGER, OTHER, Daily, Scope, spend_by_day
from costmeter.ledger.daily import Series as DailySeries
from costmeter.ledger.history import spend
from costmeter.ledger.hourly import Hours, spend_by_hour
from costmeter.ledger.store import Store, transaction_for_reading
from costmeter.ledger.writer import Writer
from costmeter.model import MS_PER_DAY, MS_PER_HOUR, Planned

JOB = "anomalies"
DIMENSIONS = ("category", "provider", "model", "tenant_id", "team")
#: What an explanation looks into.
_EXPLAINED = (*DIMENSIONS, "feature")
#: Complete days that a run reads; the detector's own `history_days` of its settings.
_HISTORY_DAYS = 42
#: An hour's last calls come in within this time.
_SETTLED_MS = 900_000
#: Where bills make more than this part of a scope, its hours say nothing.
_BILLED = 0.1
#: An amount of which so much came days later is learned from and not tested.
_LATE = 0.05
_PAST_DAYS = 28
_KEPT_MS = 400 * MS_PER_DAY


class Declared(Struct, frozen=True):
    """Spend that a budget declares beforehand; it shows in these scopes and in the ledger."""

    planned: Planned
    zone: str
    scopes: tuple[Scope, ...]


class Options(Struct, frozen=True):
    settings: Settings
    most_scopes: int
    timeout_seconds: float
    declared: tuple[Declared, ...] = ()


def options_of(config: Config) -> Options:
    asked = config.anomalies
    settings = Settings(
        timezone=config.ledger.reporting_timezone,
        sensitivity_sigma=float(asked.sensitivity),
        floor_nano=asked.floor_usd,
    )
    declared = tuple(
        Declared(one, budget.timezone, (LEDGER, *budget.match))
        for budget in budgets_of(config)
        for one in budget.planned
    )
    return Options(settings, asked.most_scopes, asked.timeout_seconds, declared)


class Detecting:
    """Looks at spend and stores what it finds; one run at a time, from whatever thread."""

    def __init__(self, store: Store, writer: Writer, clock: Clock, options: Options) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._options = options
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Nothing of the present run is stored any more."""
        self._stopping.set()

    def run(self) -> str:
        """What was found. Raises DetectionError, and then nothing was stored."""
        now_ms = self._clock.now_ms()
        self._writer.run(self._writer.booking.write_totals).result()
        connection = self._store.reader()
        try:
            with transaction_for_reading(connection):
                watched = watch(connection, now_ms, self._options)
            found = detect(connection, watched, now_ms, self._options)
            held = {one.id: one.finding for one in stored.incidents(connection)}
            findings = [
                finding
                for finding in told(found.findings, watched)
                if not _same(held.get(stored.identity(finding)), finding)
            ]
            explained = [explained_by(connection, finding) for finding in findings]
        finally:
            connection.close()
        if self._stopping.is_set():
            raise DetectionError("the exporter stops; spend is looked at after its next start")
        self._keep(explained, days_of(found.readings, self._options), found.states, now_ms)
        new = sum(one.status == "open" and stored.identity(one) not in held for one in findings)
        return f"{new} anomalies raised" if new else ""

    def _keep(
        self,
        findings: Iterable[Finding],
        days: Iterable[Day],
        states: Mapping[tuple[Pairs, int], State],
        now_ms: int,
    ) -> None:
        connection = self._writer.booking.connection
        texts = [stored.incident_document(finding, now_ms) for finding in findings]
        run = stored.run_document(days, states, now_ms)
        self._writer.run(partial(_store, connection, texts, run, now_ms)).result()


def _store(
    connection: Connection,
    findings: list[documents.Document],
    run: documents.Document,
    now_ms: int,
) -> None:
    documents.put(connection, stored.KIND, findings)
    documents.prune(connection, stored.KIND, now_ms - _KEPT_MS)
    documents.prune(connection, stored.RUN, now_ms)
    documents.put(connection, stored.RUN, [run])


class Watched(Struct, frozen=True):
    """The series of one run. `by_hour` are the scopes whose hours are tested."""

    series: tuple[Series, ...]
    by_hour: frozenset[Scope]


def watch(connection: Connection, now_ms: int, options: Options) -> Watched:
    """Read the ledger. Inside a read transaction."""
    today = now_ms // MS_PER_DAY
    start_ms = (today - _HISTORY_DAYS) * MS_PER_DAY
    until_ms = (now_ms - _SETTLED_MS) // MS_PER_HOUR * MS_PER_HOUR
    daily = spend_by_day(connection, now_ms, "UTC", days=_HISTORY_DAYS, most=options.most_scopes)
    scopes = [scope for scope in daily.scopes if scope == LEDGER or scope[0] in DIMENSIONS]
    hourly = spend_by_hour(connection, start_ms, until_ms, scopes)
    by_hour = frozenset(
        scope for scope in scopes if _is_metered(daily.scopes[scope], hourly.get(scope), daily)
    )
    series = [
        _by_hour(scope, hourly[scope], start_ms, until_ms)
        for scope in scopes
        if scope in by_hour and until_ms > start_ms
    ]
    series += [_by_day(scope, daily.scopes[scope], daily) for scope in scopes]
    planned = _planned(options.declared, start_ms, now_ms)
    return Watched(tuple(_without(planned, one) for one in series), by_hour)


def _planned(
    declared: Iterable[Declared], start_ms: int, until_ms: int
) -> dict[Scope, list[tuple[int, int]]]:
    """When declared spend is expected, by scope: (from, until)."""
    found: dict[Scope, list[tuple[int, int]]] = {}
    for one in declared:
        # What began before may still go on; the longest takes a month.
        due = due_between(one.planned, one.zone, start_ms - 31 * MS_PER_DAY, until_ms)
        for scope in one.scopes:
            found.setdefault(scope, []).extend((begin, end) for begin, end, _ in due)
    return found


def _without(planned: Mapping[Scope, list[tuple[int, int]]], series: Series) -> Series:
    """The series with the steps marked in which declared spend is expected."""
    spans = planned.get(stored.scope_of(series.scope), ())
    marked = {
        at
        for begin, end in spans
        for at in range(
            max(0, (begin - series.start_ms) // series.step_ms),
            min(len(series.nano), -(-(end - series.start_ms) // series.step_ms)),
        )
    }
    return replace(series, planned=frozenset(marked)) if marked else series


def _is_metered(days: DailySeries, hours: Hours | None, daily: Daily) -> bool:
    if hours is None:
        return False
    first = (daily.today - 30) * MS_PER_DAY
    last = daily.today * MS_PER_DAY
    metered = sum(nano for hour, nano in hours.net.items() if first <= hour < last)
    whole = days.between(daily.today - 30, daily.today - 1)
    return abs(whole - metered) <= _BILLED * max(abs(whole), abs(metered))


def _by_hour(scope: Scope, hours: Hours, start_ms: int, until_ms: int) -> Series:
    steps = (until_ms - start_ms) // MS_PER_HOUR
    nano = [hours.net.get(start_ms + at * MS_PER_HOUR, 0) for at in range(steps)]
    late = frozenset(
        (hour - start_ms) // MS_PER_HOUR
        for hour, amount in hours.late.items()
        if abs(amount) > _LATE * abs(hours.net[hour])
    )
    return Series(stored.pairs_of(scope), start_ms, nano, until_ms, HOURLY_MS, late)


def _by_day(scope: Scope, series: DailySeries, daily: Daily) -> Series:
    """Whole days; those whose bills are still to come are not final."""
    first = daily.today - _HISTORY_DAYS
    lag = lag_of(series, daily)
    final = daily.today - lag
    arrived: dict[int, int] = {}
    for (day, age), nano in series.booked.items():
        if age > lag + 1:
            arrived[day] = arrived.get(day, 0) + nano
    late = frozenset(
        day - first
        for day, nano in arrived.items()
        if first <= day < daily.today and abs(nano) > _LATE * abs(series.days.get(day, 0))
    )
    nano_by_day = [series.days.get(day, 0) for day in range(first, daily.today)]
    return Series(
        stored.pairs_of(scope),
        first * MS_PER_DAY,
        nano_by_day,
        final * MS_PER_DAY,
        DAILY_MS,
        late,
    )


def detect(connection: Connection, watched: Watched, now_ms: int, options: Options) -> Detection:
    """In the worker, from where the newest run ended."""
    if not watched.series:
        return Detection((), ())
    _, _, states = stored.newest_run(connection)
    keys = {(one.scope, one.step_ms) for one in watched.series}
    known = {key: state for key, state in states.items() if key in keys}
    said = list(_said(connection))
    request = write_request(watched.series, now_ms, options.settings, said, known)
    return run_worker(request, options.timeout_seconds)


def _said(connection: Connection) -> Iterator[Acknowledgement]:
    answers = stored.acknowledgements(connection)
    for one in stored.incidents(connection):
        answer = answers.get(one.id)
        if answer is not None:
            finding = one.finding
            yield Acknowledgement(finding.scope, finding.first_seen_ms, answer.at_ms)


def told(findings: Iterable[Finding], watched: Watched) -> Iterator[Finding]:
    """A scope that is tested by the hour is not told of by the day as well."""
    for finding in findings:
        hourly = stored.scope_of(finding.scope) in watched.by_hour
        if finding.step_ms == HOURLY_MS or not hourly:
            yield finding


def _same(held: Finding | None, finding: Finding) -> bool:
    return held is not None and replace(held, explanation=()) == finding


def explained_by(connection: Connection, finding: Finding) -> Finding:
    """The finding with the values that explain most of its difference."""
    scope = stored.scope_of(finding.scope)
    if scope[1] == OTHER:
        return finding
    where = [] if scope == LEDGER else [scope]
    span = {"since_ms": finding.first_seen_ms, "until_ms": finding.last_seen_ms + finding.step_ms}
    before = {
        "since_ms": finding.first_seen_ms - _PAST_DAYS * MS_PER_DAY,
        "until_ms": finding.first_seen_ms,
    }
    parts: list[Part] = []
    for dimension in _EXPLAINED:
        if dimension == scope[0]:
            continue
        actual = _spent(connection, dimension, where, span)
        expected = expect_shares(finding.expected, _spent(connection, dimension, where, before))
        parts += [
            Part(dimension, value, expected.get(value, 0), actual.get(value, 0))
            for value in sorted({*expected, *actual})
        ]
    shares: tuple[Share, ...] = explain(finding.expected, finding.actual, parts).shares
    return replace(finding, explanation=shares)


def _spent(
    connection: Connection, dimension: str, where: list[Scope], span: Mapping[str, int]
) -> dict[str, int]:
    found = spend(connection, [dimension], **span, where=where)
    return {one.group[0]: one.net for one in found if one.group[0]}


def days_of(readings: Iterable[Reading], options: Options) -> Iterator[Day]:
    """What was expected of each scope's last final day, and within which bounds."""
    for one in readings:
        if one.step_ms != DAILY_MS:
            continue
        spread = 2 * one.baseline.deviation
        if abs(one.score) >= 0.1:
            spread = round(abs(one.size / one.score) * options.settings.sensitivity_sigma)
        lower = max(0, one.expected - spread) if one.expected >= 0 else one.expected - spread
        yield Day(
            stored.scope_of(one.scope),
            one.at_ms,
            one.expected,
            lower,
            one.expected + spread,
            one.actual,
        )
