"""Google Cloud's billing export in BigQuery: what is charged by day, SKU and project.

Columns: the standard table `gcp_billing_export_v1_<ACCOUNT>` and the detailed one,
`gcp_billing_export_resource_v1_<ACCOUNT>`, of Google's documentation. Rows are only ever
added, some of them weeks late. So a poll first asks, for little money, up to when each day
was exported, and then reads the days in which that has changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from costmeter.model import MS_PER_DAY, Labels
from costmeter.pricing.gpu import is_known_gpu
from costmeter.sources.buckets import through_today
from costmeter.sources.categories import category_of
from costmeter.sources.contract import Desk, Page, Rhythm, Settings, Window
from costmeter.sources.gcp_bigquery import BigQuery
from costmeter.sources.gcp_bill import Lines, charge_of, maturity
from costmeter.sources.gcp_client import projects_of
from costmeter.sources.gcp_machines import card
from costmeter.sources.options import Options
from costmeter.sources.owners import Owners, line_name
from costmeter.sources.reading import amount, malformed, text
from costmeter.sources.tags import tag_keys

#: An invoice closes days after its month, and what is late may be of the month before.
RHYTHM = Rhythm(every_seconds=14_400, restated_days=38, lookback_days=62, step_days=45)
#: Most rows of a day are there after one; some take several.
FINAL_AFTER_DAYS = 5
_TABLE = re.compile(
    r"(?P<project>[a-z][a-z0-9.:-]{4,80})\.[A-Za-z0-9_]{1,200}\.[A-Za-z0-9_-]{1,200}"
)
_EPOCH = date(1970, 1, 1)
_GEMINI = re.compile(
    r"\bGemini (?P<version>[0-9]+(?:\.[0-9]+)?) (?P<name>Pro|Flash[ -]Lite|Flash|Ultra|Nano)\b",
    re.IGNORECASE,
)

#: `{{}}` are filled from checked options; values come as parameters.
_EXPORTED = """
SELECT CAST(DATE(usage_start_time) AS STRING) AS day,
       CAST(MAX(export_time) AS STRING) AS exported
FROM `{table}`
WHERE {loaded}usage_start_time >= @since AND usage_start_time < @until
GROUP BY day
"""
_COSTS = """
SELECT CAST(DATE(bill.usage_start_time) AS STRING) AS day,
       bill.service.description AS service,
       bill.sku.id AS sku_id,
       bill.sku.description AS sku,
       bill.project.id AS project,
       bill.location.region AS region,
       bill.cost_type AS cost_type,
       bill.currency AS currency,
       CAST(bill.currency_conversion_rate AS STRING) AS rate,
       part.credit AS credit,
       {columns}CAST(SUM(part.amount) AS STRING) AS amount
FROM `{table}` AS bill, UNNEST(ARRAY_CONCAT(
       [STRUCT('' AS credit, IFNULL(CAST(bill.cost AS NUMERIC), 0) AS amount)],
       ARRAY(SELECT AS STRUCT IFNULL(one.type, 'UNKNOWN') AS credit,
                              IFNULL(CAST(one.amount AS NUMERIC), 0) AS amount
             FROM UNNEST(bill.credits) AS one))) AS part
WHERE {loaded}bill.usage_start_time >= @since AND bill.usage_start_time < @until
  AND DATE(bill.usage_start_time) IN UNNEST(@days)
GROUP BY {groups}
"""
_LOADED = "(_PARTITIONTIME >= @loaded OR _PARTITIONTIME IS NULL) AND "
_TAG = """COALESCE(
         (SELECT MAX(value) FROM UNNEST(bill.labels) WHERE key = @{name}),
         (SELECT MAX(value) FROM UNNEST(bill.project.labels) WHERE key = @{name}),
         (SELECT MAX(value) FROM UNNEST(bill.tags) WHERE key = @{name})) AS {name},
       """


class GcpBilling:
    def __init__(self, settings: Settings) -> None:
        """Raises ValueError for settings that do not go together."""
        options = Options(settings.options)
        self.name = settings.name
        self.rhythm = settings.rhythm or RHYTHM
        self._table = options.word("table", "")
        found = _TABLE.fullmatch(self._table)
        if found is None:
            raise ValueError(
                f"option table={self._table} is no table; write one like "
                "table=acme-billing.export.gcp_billing_export_v1_0123AB_CDEF01_234567"
            )
        (project,) = projects_of(options.word("project", found["project"]))[:1]
        self._bigquery = BigQuery(settings, options, project)
        self._tags = tag_keys(options)
        self._by_resource = options.switch("by_resource", default=False)
        self._partitioned = options.switch("partitioned", default=True)
        self._final_after_days = options.whole("final_after_days", FINAL_AFTER_DAYS)
        options.finish("gcp_billing")
        self._owners = Owners(settings, "gcp", nobody="")
        #: What was read of each day: up to when it was exported, and how final it was.
        self._read: dict[int, tuple[str, str]] = {}

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        since, until = window.since_ms // MS_PER_DAY, through_today(window) // MS_PER_DAY
        exported = self._exported(desk, since, until)
        state = {
            day: (exported.get(day, ""), maturity(day, window.now_ms, self._final_after_days))
            for day in range(since, until)
        }
        days = [day for day in state if self._read.get(day) != state[day]]
        if not days:
            return
        lines = Lines(window.now_ms, self._final_after_days)
        asked = [day for day in days if state[day][0]]
        for row in self._costs(desk, asked) if asked else ():
            self._charge(lines, row, frozenset(asked))
        # A day at a time, so that no transaction is long.
        for day in days:
            yield Page("costs", day * MS_PER_DAY, (day + 1) * MS_PER_DAY, (), lines.take(day))
        # Whoever asks for more has kept what came before the newest page: with this one,
        # which says nothing, that is everything.
        yield Page("costs", until * MS_PER_DAY, until * MS_PER_DAY)
        self._read.update(state)

    def _exported(self, desk: Desk, since: int, until: int) -> Mapping[int, str]:
        """Up to when the rows of each day were exported, for days that have any."""
        sql = _EXPORTED.format(table=self._table, loaded=self._loaded)
        found: dict[int, str] = {}
        for row in self._bigquery.rows(desk, sql, self._span(since, until)):
            day = _day(row)
            if not since <= day < until or day in found:
                raise malformed("day", "is outside the time that was asked for, or came twice")
            found[day] = text(row, "exported")
        return found

    def _costs(self, desk: Desk, days: list[int]) -> Iterator[Mapping[str, Any]]:
        names = [f"tag_{number}" for number in range(len(self._tags.asked))]
        columns = "".join(_TAG.format(name=name) for name in names)
        columns += "bill.resource.name AS resource,\n       " if self._by_resource else ""
        # The amount is the last column; it is grouped by all that stand before it.
        width = 10 + len(names) + self._by_resource
        sql = _COSTS.format(
            table=self._table,
            loaded=self._loaded,
            columns=columns,
            groups=", ".join(str(number) for number in range(1, width + 1)),
        )
        values = self._span(days[0], days[-1] + 1)
        values["days"] = ("DATE", [_EPOCH + timedelta(days=day) for day in days])
        values |= {name: ("STRING", key) for name, key in zip(names, self._tags.asked, strict=True)}
        return self._bigquery.rows(desk, sql, values)

    @property
    def _loaded(self) -> str:
        return _LOADED if self._partitioned else ""

    def _span(self, since: int, until: int) -> dict[str, tuple[str, Any]]:
        values: dict[str, tuple[str, Any]] = {
            "since": ("TIMESTAMP", _midnight(since)),
            "until": ("TIMESTAMP", _midnight(until)),
        }
        if self._partitioned:
            # Nothing is loaded before it was used; a day more for whoever counts otherwise.
            values["loaded"] = ("TIMESTAMP", _midnight(since - 1))
        return values

    def _charge(self, lines: Lines, row: Mapping[str, Any], days: frozenset[int]) -> None:
        day = _day(row)
        if day not in days:
            raise malformed("day", "is none that was asked for")
        if row.get("amount") is None:
            raise malformed("amount", "missing")
        money = amount(row["amount"], "amount")
        service, sku, project = (text(row, name) for name in ("service", "sku", "project"))
        cost_type, credit = text(row, "cost_type"), text(row, "credit")
        region = text(row, "region")
        labels = self._labels(service, sku, project, region)
        charge = charge_of(cost_type, service, sku)
        if not money and labels.category not in ("llm_api", "gpu_compute"):
            return  # most free rows are noise; what a meter may speak of says that it was free
        said = [text(row, f"tag_{number}") for number in range(len(self._tags.asked))]
        labels = self._tags.labels(labels, dict(zip(self._tags.asked, said, strict=True)))
        said += [text(row, "resource")] if self._by_resource else []
        name = line_name(cost_type, service, sku, text(row, "sku_id"), project, region, *said)
        currency = text(row, "currency")
        lines.add(day, name, labels, charge, money, currency, _rate(row), credit)

    def _labels(self, service: str, sku: str, project: str, region: str) -> Labels:
        category = category_of(service, sku)
        llm = category == "llm_api"
        model = gemini_of(sku) if llm else ""
        if category == "gpu_compute" and is_known_gpu(sku):
            model = card(sku)
        return self._owners.labels(
            model,
            # As its meters are named: a provider of models, or a cloud.
            provider="google" if llm else "gcp",
            project=project,
            region=region,
            service=service,
            operation="",
        )._replace(category=category, purpose="inference" if llm else "")


def gemini_of(sku: str) -> str:
    """`Gemini 2.5 Flash GA Text Input - Predictions` as gemini-2.5-flash; else empty."""
    found = _GEMINI.search(sku)
    if found is None:
        return ""
    return f"gemini-{found['version']}-{found['name'].lower().replace(' ', '-')}"


def _rate(row: Mapping[str, Any]) -> str | None:
    """Units of the bill's currency for one USD, as text; None where the export has none."""
    said = text(row, "rate")
    if not said:
        return None
    rate: Decimal = amount(said, "currency_conversion_rate")
    return str(rate) if rate > 0 else None


def _day(row: Mapping[str, Any]) -> int:
    try:
        return (date.fromisoformat(text(row, "day")) - _EPOCH).days
    except ValueError:
        raise malformed("day", "expected a date") from None


def _midnight(day: int) -> datetime:
    return datetime.fromtimestamp(day * 86_400, UTC)
