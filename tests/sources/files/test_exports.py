"""Files in buckets: AWS Data Exports and patterns over moto, and Google's over HTTP."""

from __future__ import annotations

import gzip
import json
import threading
import urllib.request
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from costmeter.sources.allowance import Allowance
from costmeter.sources.contract import Settings
from costmeter.sources.secret import Secret
from fakes.aws import KEY, Door, opened
from fakes.reports import Fault
from sources.files.bills import Row, csv_text, focus_row, total
from sources.files.test_cur import OLD, column
from sources.rig import Lines, running

ROOT = "s3://bills/cost/daily"


class Store:
    """A bucket at moto, behind a door that can fail."""

    def __init__(self, door: Door) -> None:
        self.door = door
        behind = door.behind.geturl()
        self.s3: Any = boto3.client(
            "s3", endpoint_url=behind, region_name="us-east-1",
            aws_access_key_id="x", aws_secret_access_key="y",
        )  # fmt: skip
        self.s3.create_bucket(Bucket="bills")

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket="bills", Key=key, Body=body)

    def deliver(self, period: str, *parts: bytes, run: str = "", name: str = "csv.gz") -> None:
        """As AWS writes it: the data first, the manifest when they are complete."""
        below = f"BILLING_PERIOD={period}/{run}"
        keys = [f"cost/daily/data/{below}daily-{n:05d}.{name}" for n in range(1, len(parts) + 1)]
        for key, body in zip(keys, parts, strict=True):
            self.put(key, gzip.compress(body) if name.endswith("gz") else body)
        manifest = {"executionId": str(uuid4()), "dataFiles": [f"s3://bills/{key}" for key in keys]}
        self.put(f"cost/daily/metadata/{below}daily-Manifest.json", json.dumps(manifest).encode())

    def read(self) -> list[str]:
        """Keys that were fetched since the last time."""
        asked = [urlsplit(path).path for path in self.door.asked]
        self.door.asked.clear()
        return [path.rpartition("/")[2] for path in asked if path.count("/") > 2]

    def settings(self, path: str = ROOT, **options: str) -> Settings:
        secret = Secret(variable="KEY", environ={"KEY": KEY})
        return Settings("bill", secret, base_url=self.door.url, options={"path": path, **options})


@pytest.fixture
def store() -> Iterator[Store]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # All of moto in this process is one.
        reset = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset).close()
        with opened(Door(f"http://{host}:{port}")) as door:
            found = Store(door)
            yield found
            found.s3.close()
    finally:
        server.stop()


def cur2(cost: str = "7", day: str = "2026-11-20") -> Row:
    row = {column(name): value for name, value in OLD.items() if "Tags" not in name}
    start, end = (f"{day}T{hour}:00:00Z" for hour in (10, 11))
    return {
        **row,
        "line_item_unblended_cost": cost,
        "line_item_usage_start_date": start,
        "line_item_usage_end_date": end,
    }


def test_only_deliveries_that_changed_are_read(store: Store, tmp_path: Path) -> None:
    store.deliver("2026-10", csv_text([cur2("3", "2026-10-05")]))
    store.deliver("2026-11", csv_text([cur2("7")]), csv_text([cur2("1")]))
    bills = Lines()
    with running(tmp_path, "aws_data_exports", store.settings(), bills=bills) as rig:
        store.read()
        assert rig.poll() == "6 new"
        assert len(store.read()) == 5  # two manifests and three files
        assert total(bills, "billed") == 11
        assert rig.poll() == "nothing there"
        assert store.read() == []
        # A delivery restates its period, up, and down with a file less.
        store.deliver("2026-11", csv_text([cur2("8")]), csv_text([cur2("1")]))
        assert rig.poll() == "1 same, 2 restated"
        assert total(bills, "billed") == 12
        assert len(store.read()) == 3
        store.deliver("2026-11", csv_text([cur2("2")]))
        assert "failed" not in rig.poll()
        assert total(bills, "billed") == 5
    before = dict(bills.standing)
    with running(tmp_path, "aws_data_exports", store.settings(), bills=bills) as rig:
        assert "restated" not in rig.poll()
    assert bills.standing == before


def test_of_deliveries_that_are_kept_the_newest_counts(store: Store, tmp_path: Path) -> None:
    bills = Lines()
    with running(tmp_path, "aws_data_exports", store.settings(), bills=bills) as rig:
        for run, cost in (("20261120T000000Z-b/", "7"), ("20261121T000000Z-a/", "9")):
            store.deliver("2026-11", csv_text([cur2(cost)]), run=run)
            # What is not in a manifest yet is not complete.
            store.put(f"cost/daily/data/BILLING_PERIOD=2026-11/{run}extra.csv", b"broken")
            assert "failed" not in rig.poll()
            assert total(bills, "billed") == int(cost)
            threading.Event().wait(1.05)  # S3 tells when something was written in seconds


def test_focus_as_parquet(store: Store, tmp_path: Path) -> None:
    from sources.files.test_focus import parquet

    rows: list[Row] = [focus_row(cost=f"{n}") for n in (1, 2, 3)]
    body = parquet(tmp_path / "x.parquet", rows, doubles=True).read_bytes()
    store.deliver("2026-11", body, name="snappy.parquet")
    bills = Lines()
    with running(tmp_path, "aws_data_exports", store.settings(), bills=bills) as rig:
        assert rig.poll() == "4 new"
    assert total(bills, "billed") == 6


def test_a_pattern_over_a_bucket(store: Store, tmp_path: Path) -> None:
    for number in range(3):
        store.put(f"x/{number}/a.csv", csv_text([focus_row(cost=f"{number + 1}")]))
    store.put("x/readme.txt", b"no bill")
    for path, billed in (("s3://bills/x/", 6), ("s3://bills/x/[01]/*.csv", 3)):
        folder = tmp_path / str(billed)
        folder.mkdir()
        bills = Lines()
        with running(folder, "focus", store.settings(path), bills=bills) as rig:
            assert "failed" not in rig.poll()
        assert total(bills, "billed") == billed


FAULTS: Mapping[str, tuple[Fault, str]] = {
    "throttled": (Fault(503, {"Retry-After": "3"}, b"<Error><Code>SlowDown</Code></Error>"), ""),
    "a 429 with a date": (
        Fault(429, {"Retry-After": "Sun, 22 Nov 2026 10:30:05 GMT"}, b"<Error/>"), "",
    ),
    "a 500": (Fault(500, {}, b"<Error><Code>InternalError</Code></Error>"), ""),
    "cut off": (Fault(cut=40), ""),
    "denied": (
        Fault(403, {}, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"),
        "credentials",
    ),
    "gone": (Fault(404, {}, b"<Error><Code>NoSuchBucket</Code></Error>"), "request"),
}  # fmt: skip


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("case", FAULTS)
def test_faults(store: Store, tmp_path: Path, case: str, at: int) -> None:
    """In the list, the manifest, and the data: what heals is healed, the rest is told."""
    fault, reason = FAULTS[case]
    store.deliver("2026-11", csv_text([cur2("7")]))
    bills = Lines()
    with running(tmp_path, "aws_data_exports", store.settings(), bills=bills) as rig:
        store.door.faults = deque([*[None] * at, fault])
        said = rig.poll()
        if reason:
            assert said.startswith(f"failed: {reason}"), said
        if "failed" in said:
            assert not bills.standing
            rig.ledger.clock.advance(minutes=5)
            assert "failed" not in rig.poll()
        assert total(bills, "billed") == 7
        assert KEY.partition(":")[2] not in said


def test_calls_are_counted_and_limited(store: Store, tmp_path: Path) -> None:
    store.deliver("2026-11", csv_text([cur2("7")]))
    allowance = Allowance(2, None)
    with running(
        tmp_path, "aws_data_exports", store.settings(), bills=Lines(), allowance=allowance
    ) as rig:
        assert rig.poll().startswith("failed: budget")
        assert allowance.calls == 2


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        (b"{", "no readable JSON"),
        (b"{}", "names no dataFiles"),
        (b'{"dataFiles": ["s3://other/x.csv"]}', "another bucket"),
        (b'{"dataFiles": ["s3://bills/not-there.csv"]}', "failed: request"),
    ],
)
def test_manifests_that_cannot_be_used(
    store: Store, tmp_path: Path, manifest: bytes, says: str
) -> None:
    store.put("cost/daily/metadata/BILLING_PERIOD=2026-11/x-Manifest.json", manifest)
    with running(tmp_path, "aws_data_exports", store.settings(), bills=Lines()) as rig:
        assert says in rig.poll()


class _Google(BaseHTTPRequestHandler):
    """Two calls of Cloud Storage: a list in pages of two, and an object's content."""

    protocol_version = "HTTP/1.1"
    blobs: Mapping[str, bytes]
    faults: deque[int]
    asked: list[str]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        self.asked.append(self.path)
        if self.faults:
            status = self.faults.popleft()
            self._answer(status, json.dumps({"error": {"code": status, "message": "no"}}).encode())
            return
        name = unquote(parts.path.rpartition("/")[2])
        if query.get("alt") == ["media"]:
            self._answer(200, self.blobs[name])
            return
        begin = int(query.get("pageToken", ["0"])[0])
        names = sorted(self.blobs)
        items = [
            {
                "name": name, "bucket": "bills", "generation": str(len(self.blobs[name])),
                "etag": f"e{hash(self.blobs[name])}", "size": str(len(self.blobs[name])),
            }
            for name in names[begin : begin + 2]
        ]  # fmt: skip
        more = {"nextPageToken": str(begin + 2)} if begin + 2 < len(names) else {}
        self._answer(200, json.dumps({"kind": "storage#objects", "items": items, **more}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def google(blobs: Mapping[str, bytes]) -> Iterator[tuple[str, type[_Google]]]:
    kind = type("Google", (_Google,), {"blobs": blobs, "faults": deque(), "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", kind
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_google_cloud_storage(tmp_path: Path) -> None:
    blobs = {f"x/{n}.csv": csv_text([focus_row(cost=f"{n}")]) for n in (1, 2, 3)}
    bills = Lines()
    with google(blobs) as (url, server):
        own = Settings("bill", Secret(), base_url=url, options={"path": "gs://bills/x/*.csv"})
        with running(tmp_path, "focus", own, bills=bills) as rig:
            server.faults.extend((503, 429))
            assert rig.poll() == "4 new"
            assert rig.pauses
            assert total(bills, "billed") == 6
            server.asked.clear()
            assert rig.poll() == "nothing there"
            # The two pages of the list; the library asks about the bucket itself when it likes.
            assert len([path for path in server.asked if "/o?" in path]) == 2
            assert not [path for path in server.asked if "alt=media" in path]
            blobs["x/2.csv"] = csv_text([focus_row(cost="20")])
            assert rig.poll() == "4 restated"
            assert total(bills, "billed") == 24
            server.faults.append(403)
            assert rig.poll().startswith("failed: credentials")
