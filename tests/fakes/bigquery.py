"""BigQuery's REST API on a loopback port, holding a table of Google Cloud's billing export.

It knows the two questions that a billing source asks, by their columns, and answers them
from its rows: `jobs.insert` (dry runs), `jobs.query`, `jobs.get` and `jobs.getQueryResults`
with pages. Numbers travel as text, as BigQuery sends them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from fakes.reports import BadRequest, Query, Reports, one

_NANO = Decimal("0.000000001")
_TABLE = re.compile(r"FROM `([^`]+)`")
_TAG = re.compile(r"AS (tag_[0-9]+)")


@dataclass
class Row:
    """One row of the export; `at` and `exported` are instants in Unix seconds."""

    at: int
    cost: float
    service: str = "Compute Engine"
    sku: str = "N1 Predefined Instance Core running in Americas"
    sku_id: str = "2E27-4F75-95CD"
    project: str | None = "acme-prod"
    region: str | None = "us-central1"
    cost_type: str = "regular"
    currency: str = "USD"
    rate: float | None = 1.0
    credits: list[tuple[str, float]] = field(default_factory=list)
    labels: Mapping[str, str] = field(default_factory=dict)
    project_labels: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    resource: str | None = None
    exported: int | None = None
    """When it was exported and loaded; None means a few hours after its use."""

    @property
    def loaded(self) -> int:
        return self.at + 4 * 3_600 if self.exported is None else self.exported


class BigQuery(Reports):
    """`slow` answers say once that the query is not ready yet."""

    project = "acme-billing"
    table = "acme-billing.export.gcp_billing_export_v1_0123AB_CDEF01_234567"

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.scanned = 123_456_789
        self.page_size = 100_000
        self.slow = False
        self.queries: list[Mapping[str, Any]] = []
        self._jobs: dict[str, tuple[list[str], list[list[str | None]]]] = {}

    def allowed(self, headers: Mapping[str, str]) -> bool:
        return "authorization" not in headers

    def posted(self, path: str, query: Query, body: bytes) -> Any:
        asked = json.loads(body)
        if path == f"/bigquery/v2/projects/{self.project}/jobs":
            job = asked["configuration"]
            if not job.get("dryRun"):
                raise BadRequest("only dry runs are inserted here")
            self._check(job["query"])
            return {
                "kind": "bigquery#job",
                "jobReference": {"projectId": self.project, "jobId": "", "location": "EU"},
                "configuration": job,
                "status": {"state": "DONE"},
                "statistics": {
                    "totalBytesProcessed": str(self.scanned),
                    "query": {"totalBytesProcessed": str(self.scanned)},
                },
            }
        if path != f"/bigquery/v2/projects/{self.project}/queries":
            raise BadRequest(f"nothing is at {path}")
        self._check(asked)
        if int(asked["maximumBytesBilled"]) < self.scanned:
            raise BadRequest("Query exceeded limit for bytes billed")
        self.queries.append(asked)
        job_id = f"job_{len(self.queries)}"
        self._jobs[job_id] = self._answer(asked)
        if self.slow:
            return {
                "kind": "bigquery#queryResponse", "jobComplete": False,
                "jobReference": self._reference(job_id),
            }  # fmt: skip
        return self._page(job_id, 0, int(asked["maxResults"]))

    def route(self, path: str, query: Query) -> Any:
        kind, job_id = path.rsplit("/", 2)[-2:]
        if job_id not in self._jobs:
            raise BadRequest(f"no job {job_id}")
        if kind == "jobs":
            return {
                "kind": "bigquery#job",
                "jobReference": self._reference(job_id),
                "configuration": {"jobType": "QUERY", "query": {"query": "SELECT 1"}},
                "status": {"state": "DONE"},
                "statistics": {"query": {"totalBytesProcessed": str(self.scanned)}},
            }
        start = int(one(query, "pageToken", "0"))
        return self._page(job_id, start, int(one(query, "maxResults", "100000")))

    def _reference(self, job_id: str) -> dict[str, str]:
        return {"projectId": self.project, "jobId": job_id, "location": "EU"}

    def _check(self, asked: Mapping[str, Any]) -> None:
        if asked.get("useLegacySql"):
            raise BadRequest("this is no legacy SQL")
        named = set(_TABLE.findall(asked["query"]))
        if named != {self.table}:
            raise BadRequest(f"Not found: Table {named}")
        said = set(re.findall(r"@([a-z_0-9]+)", asked["query"]))
        given = {value["name"] for value in asked["queryParameters"]}
        if said != given:
            raise BadRequest(f"Query parameters {said ^ given} do not match")

    def _page(self, job_id: str, start: int, most: int) -> dict[str, Any]:
        columns, rows = self._jobs[job_id]
        end = start + min(self.page_size, most or self.page_size)
        page: dict[str, Any] = {
            "kind": "bigquery#queryResponse",
            "jobComplete": True,
            "jobReference": self._reference(job_id),
            "schema": {"fields": [{"name": c, "type": "STRING", "mode": "NULLABLE"}
                                  for c in columns]},
            "totalRows": str(len(rows)),
            "totalBytesProcessed": str(self.scanned),
            "rows": [{"f": [{"v": value} for value in row]} for row in rows[start:end]],
        }  # fmt: skip
        if end < len(rows):
            page["pageToken"] = str(end)
        return page

    def _answer(self, asked: Mapping[str, Any]) -> tuple[list[str], list[list[str | None]]]:
        values = _values(asked["queryParameters"])
        sql = asked["query"]
        since, until = _seconds(values["since"]), _seconds(values["until"])
        rows = [row for row in self.rows if since <= row.at < until]
        if "loaded" in values:
            if "_PARTITIONTIME >= @loaded OR _PARTITIONTIME IS NULL" not in sql:
                raise BadRequest("@loaded is no filter of a partition")
            loaded = _seconds(values["loaded"])
            # A partition is the day of loading.
            rows = [row for row in rows if row.loaded - row.loaded % 86_400 >= loaded]
        if "MAX(export_time)" in sql:
            newest: dict[str, int] = {}
            for row in rows:
                newest[_day(row)] = max(newest.get(_day(row), 0), row.loaded)
            return ["day", "exported"], [[day, _instant(at)] for day, at in newest.items()]
        rows = [row for row in rows if _day(row) in values["days"]]
        tags = [(name, values[name]) for name in dict.fromkeys(_TAG.findall(sql))]
        return _costs(rows, tags, by_resource="AS resource" in sql)


def _costs(
    rows: Iterable[Row], tags: list[tuple[str, str]], *, by_resource: bool
) -> tuple[list[str], list[list[str | None]]]:
    columns = ["day", "service", "sku_id", "sku", "project", "region", "cost_type", "currency",
               "rate", "credit", *(name for name, _ in tags)]  # fmt: skip
    columns += ["resource"] if by_resource else []
    sums: dict[tuple[str | None, ...], Decimal] = {}
    for row in rows:
        rate = None if row.rate is None else repr(row.rate).removesuffix(".0")
        for credit, money in [("", row.cost), *row.credits]:
            key: list[str | None] = [
                _day(row), row.service, row.sku_id, row.sku, row.project, row.region,
                row.cost_type, row.currency, rate, credit,
            ]  # fmt: skip
            for _, tag in tags:
                found = [where.get(tag) for where in (row.labels, row.project_labels, row.tags)]
                key.append(next((value for value in found if value is not None), None))
            key += [row.resource] if by_resource else []
            # CAST(FLOAT64 AS NUMERIC) rounds to nine digits, half away from zero.
            exact = Decimal(repr(float(money))).quantize(_NANO, ROUND_HALF_UP)
            sums[tuple(key)] = sums.get(tuple(key), Decimal(0)) + exact
    return [*columns, "amount"], [
        [*key, f"{money:f}".rstrip("0").rstrip(".") if money else "0"]
        for key, money in sums.items()
    ]


def _values(parameters: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for parameter in parameters:
        value = parameter["parameterValue"]
        if "arrayValues" in value:
            out[parameter["name"]] = {item["value"] for item in value["arrayValues"]}
        else:
            out[parameter["name"]] = value["value"]
    return out


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def _day(row: Row) -> str:
    return datetime.fromtimestamp(row.at, UTC).date().isoformat()


def _instant(at: int) -> str:
    return (datetime(1970, 1, 1) + timedelta(seconds=at)).isoformat(sep=" ") + "+00"  # noqa: DTZ001
