"""Findings as they are stored and exported: incidents, acknowledgements, and the newest run."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from sqlite3 import Connection
from typing import Any, NamedTuple

from msgspec import to_builtins

from costmeter.analysis.anomaly.shapes import Finding, State
from costmeter.analysis.anomaly.shapes import Scope as Pairs
from costmeter.analysis.anomaly.wire import read_finding
from costmeter.engine.forecast_documents import chunked
from costmeter.ledger import documents
from costmeter.ledger.daily import LEDGER, Scope
from costmeter.ledger.documents import Document
from costmeter.model import MS_PER_DAY, Chunk

#: Incidents, what somebody said to them, and what the newest run knew.
KIND, SAID, RUN = "anomaly", "anomaly_said", "anomaly_run"
IMPLAUSIBLE = "implausible"
_NEWEST = "newest"
#: After so long without a run nobody is shown what the last one found.
_SHOWN_MS = 2 * MS_PER_DAY


class Incident(NamedTuple):
    """`id` names it for ever; `said` is who acknowledged it, "" while nobody did."""

    id: str
    finding: Finding
    said: str = ""
    note: str = ""

    @property
    def open(self) -> bool:
        return self.finding.status == "open" and not self.said

    @property
    def scope(self) -> Scope:
        return scope_of(self.finding.scope)


class Said(NamedTuple):
    """Somebody knows of an incident, or that an amount is right."""

    who: str
    note: str
    at_ms: int


class Day(NamedTuple):
    """The last complete day of a scope that was looked at: nano-USD."""

    scope: Scope
    day_ms: int
    mean: int
    lower: int
    upper: int
    actual: int


class Wrong(NamedTuple):
    """A record whose amount cannot be right; `nano` is what it costs as it stands."""

    id: str
    event_id: str
    at_ms: int
    tenant_id: str
    provider: str
    model: str
    nano: int
    limit_nano: int
    text: str
    said: str = ""

    @property
    def open(self) -> bool:
        return not self.said and abs(self.nano) > self.limit_nano


def pairs_of(scope: Scope) -> Pairs:
    return () if scope == LEDGER else (scope,)


def scope_of(pairs: Pairs) -> Scope:
    return pairs[0] if pairs else LEDGER


def identity(finding: Finding) -> str:
    """Short enough to type, and the same in every run."""
    return hashlib.sha256(repr(finding.key).encode()).hexdigest()[:10]


def incident_document(finding: Finding, now_ms: int) -> Document:
    body = json.dumps(to_builtins(finding), separators=(",", ":"))
    return Document(identity(finding), now_ms, now_ms, body)


def incidents(connection: Connection, since_ms: int = 0) -> list[Incident]:
    """All that were open at some time since then, the newest first."""
    said = acknowledgements(connection)
    found = []
    for one in documents.newest(connection, KIND):
        try:
            finding = read_finding(json.loads(one.body))
        except (ValueError, KeyError, TypeError):
            continue  # of another version
        if finding.status != "open" and finding.last_seen_ms < since_ms:
            continue
        answer = said.get(one.id)
        who, note = (answer.who, answer.note) if answer else ("", "")
        found.append(Incident(one.id, finding, who, note))
    return sorted(found, key=lambda one: (-one.finding.detected_ms, one.id))


def acknowledgements(connection: Connection) -> dict[str, Said]:
    """By the id of the incident or record."""
    return {
        one.id: Said(body["who"], body["note"], one.at_ms)
        for one in documents.newest(connection, SAID)
        for body in [json.loads(one.body)]
    }


def say(connection: Connection, identity: str, who: str, note: str, now_ms: int) -> None:
    """Note that somebody knows. Inside a transaction; ValueError for an id that is not there."""
    if not who.strip():
        raise ValueError("an acknowledgement says who gives it")
    if not any(documents.one(connection, kind, identity) for kind in (KIND, IMPLAUSIBLE)):
        raise ValueError(f"there is no finding {identity!r}; 'costmeter anomalies' lists them")
    body = json.dumps({"who": who.strip(), "note": note})
    documents.put(connection, SAID, [Document(identity, now_ms, now_ms, body)])


def run_document(
    days: Iterable[Day], states: Mapping[tuple[Pairs, int], State], now_ms: int
) -> Document:
    packed = zlib.compress(json.dumps([[*key, state] for key, state in states.items()]).encode())
    body = {"days": list(days), "states": base64.b64encode(packed).decode()}
    return Document(_NEWEST, now_ms, now_ms, json.dumps(body, separators=(",", ":")))


def newest_run(connection: Connection) -> tuple[int, list[Day], dict[tuple[Pairs, int], State]]:
    """(instant in ms, days, states) of the newest run; 0 and nothing before the first."""
    one = documents.one(connection, RUN, _NEWEST)
    if one is None:
        return 0, [], {}
    try:
        body = json.loads(one.body)
        days = [Day(_pair(scope), *rest) for scope, *rest in body["days"]]
        kept = json.loads(zlib.decompress(base64.b64decode(body["states"])))
        states = {(tuple(map(_pair, pairs)), step): state for pairs, step, state in kept}
    except (ValueError, KeyError, TypeError, zlib.error):
        return 0, [], {}  # of another version: the next run begins anew
    return one.at_ms, days, states


def _pair(pair: Any) -> Scope:
    dimension, value = pair
    return dimension, value


def implausible(connection: Connection) -> list[Wrong]:
    """Records that could not be right when they were booked, at what they cost now."""
    said = acknowledgements(connection)
    found = []
    for one in documents.newest(connection, IMPLAUSIBLE):
        body = json.loads(one.body)
        row = connection.execute(
            "SELECT coalesce((SELECT c.nano FROM event_change AS c WHERE c.event = e.event "
            "ORDER BY c.seq DESC LIMIT 1), e.nano) FROM usage_event AS e WHERE e.event = ?",
            (body.pop("event"),),
        ).fetchone()
        answer = said.get(one.id)
        nano = 0 if row is None or row[0] is None else int(row[0])
        found.append(Wrong(one.id, nano=nano, said=answer.who if answer else "", **body))
    return sorted(found, key=lambda one: (-abs(one.nano), one.id))


class AnomalyFigures:
    """The gauges of findings, for the exporter that writes and for one that reads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._seen: tuple[Any, ...] = ()
        self._families: dict[str, tuple[Chunk, ...]] = {}

    def refresh(self, now_ms: int) -> Mapping[str, tuple[Chunk, ...]]:
        """By catalog name; nothing of a run of long ago."""
        kinds = (KIND, SAID, RUN, IMPLAUSIBLE)
        marks = ", ".join("?" * len(kinds))
        seen = self._connection.execute(
            f"SELECT count(*), max(at_ms) FROM document WHERE org = 0 AND kind IN ({marks})", kinds
        ).fetchone()
        # A wrong record is put right without a document: its amount is asked for.
        if seen != self._seen or self._families.get("llm_implausible_price_usd"):
            self._families = self._read(now_ms)
            self._seen = seen
        return self._families

    def _read(self, now_ms: int) -> dict[str, tuple[Chunk, ...]]:
        at_ms, days, _ = newest_run(self._connection)
        found = families(
            incidents(self._connection, now_ms) if now_ms - at_ms <= _SHOWN_MS else (),
            days if now_ms - at_ms <= _SHOWN_MS else (),
            implausible(self._connection),
        )
        return {name: chunks for name, chunks in found.items() if chunks}


def families(
    found: Iterable[Incident], days: Iterable[Day], wrong: Iterable[Wrong]
) -> dict[str, tuple[Chunk, ...]]:
    scores: dict[tuple[str, ...], int] = {}
    sizes: dict[tuple[str, ...], int] = {}
    for one in found:
        if not one.open:
            continue
        labels = (*one.scope, one.finding.kind, one.finding.direction)
        scores[labels] = max(scores.get(labels, 0), round(abs(one.finding.score) * 1_000))
        sizes[labels] = sizes.get(labels, 0) + one.finding.size
    expected, actual = [], []
    for day in days:
        bounds = (("mean", day.mean), ("lower", day.lower), ("upper", day.upper))
        expected += [((*day.scope, bound), nano) for bound, nano in bounds]
        actual.append((day.scope, day.actual))
    amounts: dict[tuple[str, ...], int] = {}
    calls: dict[tuple[str, ...], int] = {}
    for record in wrong:
        if record.open:
            name = (record.provider, record.model)
            amounts[name] = amounts.get(name, 0) + record.nano
            calls[name] = calls.get(name, 0) + 1
    return {
        "llm_cost_anomaly_score": chunked(list(scores.items())),
        "llm_cost_anomaly_usd": chunked(list(sizes.items())),
        "llm_cost_expected": chunked(expected),
        "llm_cost_actual": chunked(actual),
        "llm_implausible_price_usd": chunked(list(amounts.items())),
        "llm_implausible_price_calls": chunked(list(calls.items())),
    }
