"""The ledger's tables, and the steps from an older version of them to this one.

Every table is STRICT: an amount that leaves int64 is an error, never a float. The
journal is `cell`: it accumulates while its booking day is today and is frozen after.
"""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import Connection

#: Rises with every migration. A ledger of a newer version is refused.
SCHEMA_VERSION = 1

_CELL_COLUMNS = """
    org INTEGER NOT NULL,
    {bucket} INTEGER NOT NULL,
    dim INTEGER NOT NULL,
    booked INTEGER NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    requests INTEGER NOT NULL,
    latency_ms INTEGER NOT NULL,
    up INTEGER NOT NULL,
    down INTEGER NOT NULL,
    quantities TEXT NOT NULL,
    nanos TEXT NOT NULL,
    PRIMARY KEY (org, {bucket}, dim, booked, kind, status)
"""

_TABLES = f"""
CREATE TABLE meta (k TEXT PRIMARY KEY, v TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE org (org INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL UNIQUE) STRICT;

-- Label tuples under which usage is kept, and the scope is decided once, here.
CREATE TABLE dim (
    dim INTEGER PRIMARY KEY,
    org INTEGER NOT NULL,
    tenant_id TEXT NOT NULL, category TEXT NOT NULL, purpose TEXT NOT NULL,
    provider TEXT NOT NULL, account TEXT NOT NULL, region TEXT NOT NULL,
    model TEXT NOT NULL, environment TEXT NOT NULL, team TEXT NOT NULL,
    project TEXT NOT NULL, service TEXT NOT NULL, feature TEXT NOT NULL,
    operation TEXT NOT NULL, scope TEXT NOT NULL,
    UNIQUE (tenant_id, category, purpose, provider, account, region, model, environment,
            team, project, service, feature, operation, scope)
) STRICT;

-- Immutable.
CREATE TABLE usage_event (
    event INTEGER PRIMARY KEY,
    org INTEGER NOT NULL, day INTEGER NOT NULL, dim INTEGER NOT NULL,
    booked INTEGER NOT NULL, quantities TEXT NOT NULL, rate INTEGER, nano INTEGER,
    id TEXT NOT NULL, at_ms INTEGER NOT NULL, feed TEXT NOT NULL, status TEXT NOT NULL,
    latency_ms INTEGER NOT NULL, processing TEXT NOT NULL, user_id TEXT NOT NULL,
    session_id TEXT NOT NULL, resource TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;

-- Who is booked already. `h` is 64 bits of (organization, id)'s digest: narrow, so that
-- deduplication stays fast at ten million random ids, and the event's own id decides.
CREATE TABLE identity (
    day INTEGER NOT NULL, h INTEGER NOT NULL, event INTEGER NOT NULL,
    PRIMARY KEY (day, h, event)
) STRICT, WITHOUT ROWID;

-- What a correction or a new price made of an event: its whole state afterwards.
CREATE TABLE event_change (
    event INTEGER NOT NULL, seq INTEGER NOT NULL, booked INTEGER NOT NULL,
    kind TEXT NOT NULL, correction_id TEXT, org INTEGER NOT NULL,
    dim INTEGER NOT NULL, status TEXT NOT NULL, processing TEXT NOT NULL,
    quantities TEXT NOT NULL, rate INTEGER, nano INTEGER,
    PRIMARY KEY (event, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX event_change_correction ON event_change (org, correction_id)
    WHERE correction_id IS NOT NULL;

-- Events that another feed books: compared, never booked.
CREATE TABLE observed_event (
    org INTEGER NOT NULL, day INTEGER NOT NULL, feed TEXT NOT NULL, id TEXT NOT NULL,
    dim INTEGER NOT NULL, quantities TEXT NOT NULL,
    PRIMARY KEY (org, day, feed, id)
) STRICT, WITHOUT ROWID;

-- Entries that come from no metered call, and the id makes a repeated one harmless.
CREATE TABLE posting (
    org INTEGER NOT NULL, id TEXT NOT NULL, hour INTEGER NOT NULL, dim INTEGER NOT NULL,
    kind TEXT NOT NULL, booked INTEGER NOT NULL, nano INTEGER NOT NULL,
    PRIMARY KEY (org, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE cell ({_CELL_COLUMNS.format(bucket="hour")}) STRICT, WITHOUT ROWID;
CREATE TABLE day_cell ({_CELL_COLUMNS.format(bucket="day")}) STRICT, WITHOUT ROWID;

CREATE TABLE user_day (
    org INTEGER NOT NULL, day INTEGER NOT NULL, user_id TEXT NOT NULL,
    model TEXT NOT NULL, booked INTEGER NOT NULL,
    requests INTEGER NOT NULL, tokens INTEGER NOT NULL,
    up INTEGER NOT NULL, down INTEGER NOT NULL,
    PRIMARY KEY (org, day, user_id, model, booked)
) STRICT, WITHOUT ROWID;

-- Net spend by exported labels and period of the reporting time zone: the gauges.
CREATE TABLE period_cost (
    grain TEXT NOT NULL, start INTEGER NOT NULL, labels TEXT NOT NULL,
    net INTEGER NOT NULL, rev INTEGER NOT NULL,
    PRIMARY KEY (grain, start, labels)
) STRICT, WITHOUT ROWID;
CREATE INDEX period_cost_rev ON period_cost (rev);

-- One row an exported counter. value = (what its cells add up to) + opening.
CREATE TABLE series (
    series INTEGER PRIMARY KEY,
    family TEXT NOT NULL, labels TEXT NOT NULL,
    value INTEGER NOT NULL, opening INTEGER NOT NULL,
    hold_until INTEGER NOT NULL, rev INTEGER NOT NULL,
    UNIQUE (family, labels)
) STRICT;
CREATE INDEX series_rev ON series (rev);

-- Late amounts that a counter shows little by little.
CREATE TABLE release (
    series INTEGER NOT NULL, from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL,
    amount INTEGER NOT NULL, rev INTEGER NOT NULL,
    PRIMARY KEY (series, from_ms, until_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX release_rev ON release (rev);

-- Label values with series of their own, by booking day: [from_booked, until_booked).
CREATE TABLE admitted (
    label TEXT NOT NULL, value TEXT NOT NULL,
    from_booked INTEGER NOT NULL, until_booked INTEGER,
    PRIMARY KEY (label, value, from_booked)
) STRICT, WITHOUT ROWID;

-- Every rate that was ever used, with its source, in nano-USD per million priced units.
CREATE TABLE price (
    rate INTEGER PRIMARY KEY, rate_id TEXT NOT NULL UNIQUE, source TEXT NOT NULL,
    prices TEXT NOT NULL, least TEXT NOT NULL, known_ms INTEGER NOT NULL
) STRICT;

-- Usage that accrues over time: a resource's hour, priced as a whole.
CREATE TABLE accrual (
    resource TEXT NOT NULL, hour INTEGER NOT NULL, rate INTEGER NOT NULL,
    quantity INTEGER NOT NULL, nano INTEGER NOT NULL,
    PRIMARY KEY (resource, hour, rate)
) STRICT, WITHOUT ROWID;

-- Events that wait for a price.
CREATE TABLE unpriced (event INTEGER PRIMARY KEY, dim INTEGER NOT NULL) STRICT;

CREATE TABLE budget (
    name TEXT NOT NULL, rev INTEGER NOT NULL, position INTEGER NOT NULL,
    definition TEXT NOT NULL, active INTEGER NOT NULL, since_ms INTEGER NOT NULL,
    PRIMARY KEY (name, rev)
) STRICT, WITHOUT ROWID;
CREATE TABLE budget_hour (
    budget TEXT NOT NULL, hour INTEGER NOT NULL, net INTEGER NOT NULL,
    PRIMARY KEY (budget, hour)
) STRICT, WITHOUT ROWID;

CREATE TABLE state (
    kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- Append-only: who changed what, and what was decided.
CREATE TABLE audit (
    entry INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL
) STRICT;
"""


def _create(connection: Connection) -> None:
    # Not executescript: that one commits first, and a half-made ledger would remain.
    for statement in _TABLES.split(";"):
        if statement.strip():
            connection.execute(statement)


#: MIGRATIONS[n] takes a ledger of version n to version n + 1.
MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_create,)
