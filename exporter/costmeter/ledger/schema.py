"""The ledger's tables, and the steps from an older version of them to this one.

Every table is STRICT: an amount that leaves int64 is an error, never a float. The
journal is `cell`: it accumulates while its booking day is today and is frozen after.
"""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import Connection

from costmeter.ledger.accrual import settle_hours

#: Rises with every migration. A ledger of a newer version is refused.
SCHEMA_VERSION = 4

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
    session_id TEXT NOT NULL, resource TEXT NOT NULL, detail TEXT NOT NULL,
    h INTEGER NOT NULL
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

-- Net spend by exported labels and period of the reporting time zone: the gauges. The
-- grain `saved` is a month of what contracts saved.
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


_BILLS = """
-- Lines of bills as they came, one row for each state of a line. The highest `rev` is what
-- stands. `usd_nano` is NULL while no rate of exchange is known.
CREATE TABLE bill (
    source TEXT NOT NULL, day INTEGER NOT NULL, basis TEXT NOT NULL,
    line TEXT NOT NULL, rev INTEGER NOT NULL,
    scope TEXT NOT NULL, charge TEXT NOT NULL, maturity TEXT NOT NULL,
    amount TEXT NOT NULL, currency TEXT NOT NULL,
    fx_rate TEXT NOT NULL, fx_day INTEGER NOT NULL, usd_nano INTEGER,
    labels TEXT NOT NULL, known_ms INTEGER NOT NULL, booked INTEGER NOT NULL,
    PRIMARY KEY (source, day, basis, line, rev)
) STRICT, WITHOUT ROWID;
CREATE INDEX bill_scope ON bill (scope, day);
CREATE INDEX bill_day ON bill (day, scope);
CREATE INDEX bill_unconverted ON bill (scope, currency) WHERE usd_nano IS NULL;

-- How a scope's day was settled: what was metered and billed, and who bears it. A row for
-- each time that one of these changed. `adopted` are dims of other scopes counted here.
CREATE TABLE settlement (
    scope TEXT NOT NULL, day INTEGER NOT NULL, rev INTEGER NOT NULL,
    source TEXT NOT NULL, basis TEXT NOT NULL, detail TEXT NOT NULL, status TEXT NOT NULL,
    metered INTEGER NOT NULL, billed INTEGER NOT NULL, usage_billed INTEGER NOT NULL,
    unattributed INTEGER NOT NULL, adopted TEXT NOT NULL,
    known_ms INTEGER NOT NULL, booked INTEGER NOT NULL,
    PRIMARY KEY (scope, day, rev)
) STRICT, WITHOUT ROWID;
CREATE INDEX settlement_day ON settlement (day);

-- Days to be settled: their meters moved after it, or their bill came in pieces.
CREATE TABLE settle_due (
    scope TEXT NOT NULL, day INTEGER NOT NULL, since_ms INTEGER, PRIMARY KEY (scope, day)
) STRICT, WITHOUT ROWID;

-- Which scope's bill a posting settles, and whether it stays out of the counters.
ALTER TABLE posting ADD COLUMN scope TEXT NOT NULL DEFAULT '';
ALTER TABLE posting ADD COLUMN history INTEGER NOT NULL DEFAULT 0;
CREATE INDEX posting_scope ON posting (scope, hour) WHERE scope != '';
"""

_CONTRACTS = """
-- The list prices beside a rate that a contract gave, as JSON by class, else an empty text.
ALTER TABLE price ADD COLUMN listed TEXT NOT NULL DEFAULT '';

-- What metered usage would have cost more at list prices, beside its cell. The cells of
-- metered kinds and this are its list cost.
CREATE TABLE saving (
    org INTEGER NOT NULL, hour INTEGER NOT NULL, dim INTEGER NOT NULL,
    booked INTEGER NOT NULL, nano INTEGER NOT NULL,
    PRIMARY KEY (org, hour, dim, booked)
) STRICT, WITHOUT ROWID;

-- What a commitment made of a contract's usage.
CREATE INDEX posting_commit ON posting (hour) WHERE kind = 'commit';
"""

_ACCELERATORS = """
-- A resource's hour holds energy beside time, and `quantity` is its time of all states. Under
-- rate 0 is the time without a price, and as `nano` what the hour's price is more than its
-- events bear: the next of them takes it.
ALTER TABLE accrual ADD COLUMN energy_mj INTEGER NOT NULL DEFAULT 0;

-- What is kept as a whole text with its revisions: forecasts, findings, alerts. Append-only.
CREATE TABLE document (
    org INTEGER NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, rev INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (org, kind, id, rev)
) STRICT, WITHOUT ROWID;
"""

_BUDGETS = """
-- A budget as it stands. `budget` holds all its revisions, and `since_ms` there is when each
-- began to hold. A `source` removes only its own. `cut` is how budget_period was cut, empty
-- where the budget is to be filled anew. `counted` ones have a counter. `changed` is a revision.
CREATE TABLE budget_now (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, rev INTEGER NOT NULL,
    source TEXT NOT NULL, position INTEGER NOT NULL, active INTEGER NOT NULL,
    counted INTEGER NOT NULL, cut TEXT NOT NULL, changed INTEGER NOT NULL
) STRICT;
CREATE INDEX budget_now_changed ON budget_now (changed);
CREATE INDEX budget_now_position ON budget_now (position);
INSERT INTO budget_now (name, rev, source, position, active, counted, cut, changed)
    SELECT name, rev, 'config', position, active, active, '', 0
    FROM (SELECT name, max(rev) AS rev, position, active FROM budget GROUP BY name);

-- Which budgets a combination of label values belongs to: `shape` names the labels.
CREATE TABLE budget_key (
    shape TEXT NOT NULL, value TEXT NOT NULL, number INTEGER NOT NULL,
    PRIMARY KEY (shape, value, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX budget_key_number ON budget_key (number);

-- What is booked against a budget: by the cell's hour, and by the budget's own periods.
CREATE TABLE budget_net (
    number INTEGER NOT NULL, hour INTEGER NOT NULL, net INTEGER NOT NULL,
    PRIMARY KEY (number, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX budget_net_hour ON budget_net (hour, number, net);
DROP TABLE budget_hour;
CREATE TABLE budget_period (
    number INTEGER NOT NULL, start INTEGER NOT NULL, net INTEGER NOT NULL,
    PRIMARY KEY (number, start)
) STRICT, WITHOUT ROWID;

-- The newest entries of budget_net as they came, for whoever follows them.
CREATE TABLE budget_change (
    rev INTEGER NOT NULL, number INTEGER NOT NULL, hour INTEGER NOT NULL, net INTEGER NOT NULL,
    PRIMARY KEY (rev, number, hour)
) STRICT, WITHOUT ROWID;

-- One row for each amount that a budget crossed in a period. Append-only, as are answers.
CREATE TABLE budget_alert (
    alert INTEGER PRIMARY KEY, number INTEGER NOT NULL, start INTEGER NOT NULL,
    kind TEXT NOT NULL, limit_nano INTEGER NOT NULL, permille INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, figures TEXT NOT NULL,
    UNIQUE (number, start, kind, limit_nano, permille)
) STRICT;
CREATE TABLE budget_answer (
    alert INTEGER NOT NULL, at_ms INTEGER NOT NULL, who TEXT NOT NULL, note TEXT NOT NULL,
    PRIMARY KEY (alert, at_ms)
) STRICT, WITHOUT ROWID;
"""


def _create(connection: Connection) -> None:
    _run(connection, _TABLES)


def _add_bills(connection: Connection) -> None:
    _run(connection, _BILLS)


def _add_contracts(connection: Connection) -> None:
    _run(connection, _CONTRACTS)


def _add_accelerators(connection: Connection) -> None:
    _run(connection, _ACCELERATORS)
    _run(connection, _BUDGETS)
    settle_hours(connection)


def _run(connection: Connection, statements: str) -> None:
    # Not executescript: that one commits first, and a half-made ledger would remain.
    lines = [line for line in statements.splitlines() if not line.lstrip().startswith("--")]
    for statement in "\n".join(lines).split(";"):
        if statement.strip():
            connection.execute(statement)


#: MIGRATIONS[n] takes a ledger of version n to version n + 1.
MIGRATIONS: tuple[Callable[[Connection], None], ...] = (
    _create,
    _add_bills,
    _add_contracts,
    _add_accelerators,
)
