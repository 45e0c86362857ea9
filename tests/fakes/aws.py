"""AWS on a loopback port: Cost Explorer's JSON protocol, and a door before moto that fails.

Cost Explorer groups, filters and pages over `records` as AWS does: two keys at most, and
a page that ends within a day goes on with that day in the next.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from fakes.reports import BadRequest, Fault, Query, Reports

KEY = "AKIA0123456789TEST:wJalrXUtnFEMI0K7MDENG1bPxRfiCYEXAMPLEKEY2"


@dataclass(frozen=True)
class Charge:
    """What was charged on a day; `billed` is the unblended amount, when it is another one."""

    day: str
    amount: str
    service: str = "Amazon Bedrock"
    usage_type: str = "USE1-Tokens"
    record: str = "Usage"
    account: str = "111122223333"
    billed: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    unit: str = "USD"


class CostExplorerApi(Reports):
    """Days before `closed` are invoiced; a page holds `page_size` groups."""

    key = KEY

    def __init__(self, closed: str = "2026-11-01") -> None:
        super().__init__()
        self.records: list[Charge] = []
        self.closed = closed
        self.page_size = 1_000
        self.net = True
        self.forecast: dict[str, Any] | None = None

    def allowed(self, headers: Mapping[str, str]) -> bool:
        who = self.key.partition(":")[0]
        return headers.get("authorization", "").startswith(f"AWS4-HMAC-SHA256 Credential={who}/")

    def posted(self, path: str, query: Query, body: bytes) -> Any:
        target = self.asked[-1].headers["x-amz-target"].removeprefix("AWSInsightsIndexService.")
        asked = json.loads(body)
        if target == "GetCostForecast":
            return self._forecast(asked)
        if target != "GetCostAndUsage":
            raise BadRequest(f"no such operation {target}")
        return self._costs(asked)

    def _costs(self, asked: dict[str, Any]) -> dict[str, Any]:
        groups = asked.get("GroupBy", [])
        if len(groups) > 2 or asked["Granularity"] != "DAILY":
            raise BadRequest("at most two groups, by day")
        first, end = (date.fromisoformat(asked["TimePeriod"][name]) for name in ("Start", "End"))
        if first >= end:
            raise BadRequest("Start is not before End")
        cells: dict[tuple[date, tuple[str, ...]], dict[str, tuple[Decimal, str]]] = {}
        for one in self.records:
            day = date.fromisoformat(one.day)
            if first <= day < end and _fits(one, asked.get("Filter")):
                cell = cells.setdefault((day, tuple(_key(one, by) for by in groups)), {})
                for metric, money in self._metrics(one).items():
                    if metric in asked["Metrics"]:
                        old = cell.get(metric, (Decimal(), one.unit))[0]
                        cell[metric] = (old + Decimal(money), one.unit)
        held = sorted(cells)
        start = int(asked.get("NextPageToken", "page 0").removeprefix("page "))
        shown, more = held[start : start + self.page_size], start + self.page_size < len(held)
        days = [first + timedelta(n) for n in range((end - first).days)]
        if more or start:
            days = sorted({day for day, _ in shown})
        answer = {
            "GroupDefinitions": groups,
            "ResultsByTime": [
                {
                    "TimePeriod": {"Start": f"{day}", "End": f"{day + timedelta(1)}"},
                    "Total": {},
                    "Groups": [
                        {
                            "Keys": list(keys),
                            "Metrics": {
                                name: {"Amount": f"{money:f}", "Unit": unit}
                                for name, (money, unit) in cells[day, keys].items()
                            },
                        }
                        for at, keys in shown
                        if at == day
                    ],
                    "Estimated": f"{day}" >= self.closed,
                }
                for day in days
            ],
            "DimensionValueAttributes": [],
        }
        if more:
            answer["NextPageToken"] = f"page {start + self.page_size}"
        return answer

    def _metrics(self, one: Charge) -> dict[str, str]:
        billed = one.amount if one.billed is None else one.billed
        found = {"AmortizedCost": one.amount, "UnblendedCost": billed}
        if self.net:
            # Without the net metrics the plain ones count; with them they would be wrong.
            found = {name: f"{Decimal(money) * 2:f}" for name, money in found.items()}
            found |= {"NetAmortizedCost": one.amount, "NetUnblendedCost": billed}
        return found

    def _forecast(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self.forecast is None:
            raise BadRequest("Insufficient amount of historical data")
        if asked["Metric"] != "NET_AMORTIZED_COST" or asked["Granularity"] != "MONTHLY":
            raise BadRequest("another question was expected")
        low, high = self.forecast[str(asked["PredictionIntervalLevel"])]
        mean = self.forecast["mean"]
        return {
            "Total": {"Amount": mean, "Unit": "USD"},
            "ForecastResultsByTime": [
                {
                    "TimePeriod": asked["TimePeriod"], "MeanValue": mean,
                    "PredictionIntervalLowerBound": low, "PredictionIntervalUpperBound": high,
                }
            ],
        }  # fmt: skip


def _key(one: Charge, by: Mapping[str, str]) -> str:
    if by["Type"] == "TAG":
        return f"{by['Key']}${one.tags.get(by['Key'], '')}"
    return {
        "SERVICE": one.service, "USAGE_TYPE": one.usage_type, "RECORD_TYPE": one.record,
        "LINKED_ACCOUNT": one.account,
    }[by["Key"]]  # fmt: skip


def _fits(one: Charge, asked: Mapping[str, Any] | None) -> bool:
    if not asked:
        return True
    if "Not" in asked:
        return not _fits(one, asked["Not"])
    about = asked["Dimensions"]
    return _key(one, {"Type": "DIMENSION", "Key": about["Key"]}) in about["Values"]


def refused(code: str, said: str, status: int = 400, **headers: str) -> Fault:
    """An error as AWS's JSON protocols write it."""
    body = json.dumps({"__type": code, "message": said}).encode()
    return Fault(status, {"x-amzn-ErrorType": code, **headers}, body)


class Door:
    """Passes requests on to `url`, unless a fault is due; `change` sees the answer's bytes."""

    key = KEY

    def __init__(self, url: str) -> None:
        self.port = 0
        self.behind = urlsplit(url)
        self.faults: deque[Fault | None] = deque()
        self.asked: list[str] = []
        self.answers: dict[str, Any] = {}
        """Answers in JSON by path, for what moto does not know."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    door: Door

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, sent: bytes = b"") -> None:
        door = self.door
        door.asked.append(self.path)
        fault = (door.faults.popleft() if door.faults else None) or Fault()
        status, headers, body = fault.status, dict(fault.headers), fault.body
        path = urlsplit(self.path).path
        if body is None and status == 200 and path in door.answers:
            body, headers["Content-Type"] = json.dumps(door.answers[path]).encode(), "text/json"
        elif body is None and status == 200:
            status, more, body = self._behind(sent)
            headers |= more
            body = body if fault.change is None else fault.change(body)
        body = b"" if body is None else body
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if fault.gate is not None:
                fault.gate.wait(20)
            self.wfile.write(body if fault.cut is None else body[: fault.cut])
        except OSError:
            pass  # whoever asked has given up
        if fault.cut is not None:
            self.close_connection = True

    def _behind(self, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(
            self.door.behind.hostname or "", self.door.behind.port, timeout=20
        )
        try:
            kept = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
            connection.request(self.command, self.path, sent, kept)
            answer = connection.getresponse()
            names = ("content-type", "smithy-protocol", "x-amzn-query-error")
            found = {k: v for k, v in answer.getheaders() if k.lower() in names}
            return answer.status, found, answer.read()
        finally:
            connection.close()


@contextmanager
def opened(door: Door) -> Iterator[Door]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"door": door}))
    server.daemon_threads = True
    door.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield door
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
