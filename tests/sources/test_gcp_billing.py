"""Google Cloud's billing export through the real client of BigQuery, against its REST API."""

from __future__ import annotations

import gzip
import json
import random
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from costmeter.model import BillLine
from costmeter.sources.allowance import Allowance
from costmeter.sources.contract import OwnerRule, Settings, SourceError
from costmeter.sources.gcp_bigquery import nano_of
from costmeter.sources.gcp_bill import charge_of
from costmeter.sources.gcp_billing import gemini_of
from costmeter.sources.registry import make
from costmeter.sources.secret import Secret
from fakes.bigquery import BigQuery, Row
from fakes.clock import FakeClock
from fakes.reports import Fault, serving
from sources.rig import DAY, HOUR, NOW, TODAY, Lines, pages, running

YESTERDAY = TODAY - DAY
NANO = 10**9
GEMINI = {"service": "Vertex AI", "sku": "Gemini 2.5 Flash GA Text Input - Predictions"}


def settings(fake: BigQuery, **changes: Any) -> Settings:
    options = {"table": fake.table, **changes.pop("options", {})}
    return Settings("gcp", Secret(), base_url=fake.url, options=options, **changes)


@pytest.fixture
def fake() -> Iterator[BigQuery]:
    found = BigQuery()
    with serving(found):
        yield found


def read(
    fake: BigQuery, *, basis: str = "effective", since: int = YESTERDAY, **changes: Any
) -> list[BillLine]:
    found = pages(make("gcp_billing", settings(fake, **changes)), since, TODAY + DAY)
    return [line for page in found for line in page.lines if line.basis == basis]


def recount(fake: BigQuery) -> dict[int, Decimal]:
    """What each day costs, from the rows alone: cost and credits, to nine digits."""
    out: dict[int, Decimal] = {}
    for row in fake.rows:
        for money in (row.cost, *(credit for _, credit in row.credits)):
            out[row.at // DAY] = out.get(row.at // DAY, Decimal(0)) + Decimal(repr(money))
    return out


def by_day(bills: Lines, basis: str) -> dict[int, Decimal]:
    out: dict[int, Decimal] = {}
    for line in bills.standing.values():
        if line.basis == basis:
            out[line.day] = out.get(line.day, Decimal(0)) + Decimal(line.amount)
    return {day: money for day, money in out.items() if money}


def test_rows_add_up_by_sku_project_and_day(fake: BigQuery) -> None:
    fake.rows = [
        Row(YESTERDAY, 0.1), Row(YESTERDAY + HOUR, 0.2), Row(YESTERDAY + 23 * HOUR, 1e-9),
        Row(YESTERDAY, 5.5, project="acme-dev"), Row(TODAY, 7.25), Row(YESTERDAY, 0.0),
        Row(YESTERDAY, 3.0, project=None, region=None, service="Support", sku="Enhanced"),
    ]  # fmt: skip
    lines = read(fake, account="billing-1")
    assert [
        (line.day - TODAY // DAY, line.labels.project, line.amount, line.usd_nano, line.charge)
        for line in lines
    ] == [
        (-1, "acme-prod", "0.300000001", 300_000_001, "usage"),
        (-1, "acme-dev", "5.5", 5_500_000_000, "usage"),
        (-1, "", "3", 3 * NANO, "support"),
        (0, "acme-prod", "7.25", 7_250_000_000, "usage"),
    ]  # fmt: skip
    assert {line.maturity for line in lines} == {"provisional", "estimated"}
    assert {line.labels.account for line in lines} == {"billing-1"}
    assert lines[0].labels.provider == "gcp"
    assert lines[0].labels.category == "cpu_compute"
    assert lines[0].labels.region == "us-central1"


def test_credits_stand_apart_and_discounts_are_net(fake: BigQuery) -> None:
    fake.rows = [
        Row(YESTERDAY, 10.0, credits=[
            ("SUSTAINED_USAGE_DISCOUNT", -1.5), ("COMMITTED_USAGE_DISCOUNT", -2.25),
            ("PROMOTION", -4.0), ("SOMETHING_NEW", -0.125),
        ]),
    ]  # fmt: skip
    assert [(line.charge, line.amount) for line in read(fake)] == [
        ("usage", "6.25"), ("credit", "-4"), ("credit", "-0.125"),
    ]  # fmt: skip
    billed = read(fake, basis="billed")
    assert [(line.charge, line.amount) for line in billed] == [
        ("usage", "10"), ("credit", "-1.5"), ("credit", "-2.25"), ("credit", "-4"),
        ("credit", "-0.125"),
    ]  # fmt: skip
    assert sum(line.usd_nano or 0 for line in billed) == 2_125_000_000
    assert len({line.line for line in billed}) == 5


@pytest.mark.parametrize(
    ("cost_type", "service", "sku", "expected"),
    [
        ("regular", "Compute Engine", "N2 core", "usage"),
        ("regular", "Support", "Premium", "support"),
        ("regular", "Compute Engine", "Commitment v1: N2 Cpu in Iowa for 1 Year", "purchase"),
        ("tax", "Invoice", "Tax - VAT", "tax"),
        ("adjustment", "Compute Engine", "N2 core", "adjustment"),
        ("rounding_error", "Invoice", "Rounding error", "adjustment"),
        ("something_new", "X", "Y", "adjustment"),
    ],
)
def test_what_rows_are_for(cost_type: str, service: str, sku: str, expected: str) -> None:
    assert charge_of(cost_type, service, sku) == expected


def test_other_currencies_with_the_rate_of_the_export(fake: BigQuery) -> None:
    fake.rows = [
        Row(YESTERDAY, 9.2, currency="EUR", rate=0.92),
        Row(YESTERDAY, 3.0, currency="EUR", rate=0.75, sku_id="B", sku="B"),
        Row(YESTERDAY, 2.0, currency="EUR", rate=0.8, sku_id="B", sku="B"),
        Row(YESTERDAY, 5.0, currency="EUR", rate=None, sku_id="C", sku="C"),
        Row(YESTERDAY, 0.1, currency="JPY", rate=3.0, sku_id="D", sku="D"),
        Row(YESTERDAY, 1.0, currency="EUR", rate=0.0, sku_id="E", sku="E"),
    ]
    lines = read(fake)
    assert [(line.currency, line.amount, line.usd_nano) for line in lines] == [
        ("EUR", "9.2", 10 * NANO), ("EUR", "5", 6_500_000_000), ("EUR", "5", None),
        ("JPY", "0.1", 33_333_333), ("EUR", "1", None),
    ]  # fmt: skip
    assert lines[0].fx_rate == "1.08695652173913"
    assert lines[1].fx_rate == "1.3"
    assert lines[0].fx_day == YESTERDAY // DAY
    assert all(line.line.endswith(line.currency) for line in lines)


def test_whose_it_is_by_labels_tags_and_project(fake: BigQuery) -> None:
    team = {"team": "search"}
    fake.rows = [
        Row(YESTERDAY, 1.0, labels={"tenant": "acme", **team}),
        Row(YESTERDAY, 2.0, project_labels={"tenant": "globex"}, tags=team),
        Row(YESTERDAY, 4.0),
    ]
    lines = read(
        fake,
        options={"tenant_tag": "tenant", "team_tag": "team"},
        owners=(OwnerRule(project="acme-*", environment="prod"),),
    )
    assert [(x.amount, x.labels.tenant_id, x.labels.team, x.labels.environment) for x in lines] == [
        ("1", "acme", "search", "prod"), ("2", "globex", "search", "prod"), ("4", "", "", "prod"),
    ]  # fmt: skip


def test_models_and_cards(fake: BigQuery) -> None:
    gpu = "Nvidia Tesla A100 80GB GPU running in Iowa"
    fake.rows = [
        Row(YESTERDAY, 1.0, **GEMINI),  # type: ignore[arg-type]
        Row(YESTERDAY, 0.0, service="Gemini API", sku="Gemini 2.5 Pro output"),
        Row(YESTERDAY, 2.0, sku=gpu),
    ]
    assert [
        (x.labels.provider, x.labels.model, x.labels.category, x.labels.service)
        for x in read(fake)
    ] == [
        ("google", "gemini-2.5-flash", "llm_api", "Vertex AI"),
        ("google", "gemini-2.5-pro", "llm_api", "Gemini API"),
        ("gcp", "A100-80GB", "gpu_compute", "Compute Engine"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sku", "expected"),
    [
        ("Gemini 2.5 Flash Lite Output", "gemini-2.5-flash-lite"),
        ("Gemini 3 Pro Text Input", "gemini-3-pro"),
        ("Claude Sonnet input", ""),
    ],
)
def test_models_of_skus(sku: str, expected: str) -> None:
    assert gemini_of(sku) == expected


def test_by_resource_from_the_detailed_table(fake: BigQuery) -> None:
    fake.rows = [Row(YESTERDAY, 1.0, resource="vm-1"), Row(YESTERDAY, 2.0, resource="vm-2")]
    assert [line.amount for line in read(fake)] == ["3"]
    lines = read(fake, options={"by_resource": "true"})
    assert [line.line.rpartition(" | ")[2] for line in lines] == ["vm-1", "vm-2"]


def test_pages_and_answers_that_are_not_ready(fake: BigQuery) -> None:
    fake.rows = [Row(YESTERDAY, float(n + 1), sku_id=f"S{n}") for n in range(25)]
    fake.page_size = 10
    fake.slow = True
    lines = read(fake)
    assert sum(Decimal(line.amount) for line in lines) == 325
    assert sum(asked.method == "GET" for asked in fake.asked) == 2 + 4
    for asked in fake.queries:
        assert asked["maximumBytesBilled"] == str(50 << 30)
        assert asked["useQueryCache"] is False
        assert asked["useLegacySql"] is False


def test_unchanged_days_are_not_read_again(tmp_path: Path, fake: BigQuery) -> None:
    start = TODAY - 30 * DAY
    fake.rows = [
        Row(start + n * DAY, round(1.0 + n / 7, 9), credits=[("PROMOTION", -0.1)])
        for n in range(31)
    ]
    bills = Lines()
    with running(tmp_path, "gcp_billing", settings(fake), bills=bills) as rig:
        assert "failed" not in rig.poll()
        assert by_day(bills, "effective") == by_day(bills, "billed") == recount(fake)
        whole = bills.nano()

        fake.queries.clear()
        assert rig.poll() == "nothing there"
        assert len(fake.queries) == 1  # nothing but the question of what was exported
        assert bills.nano() == whole

        # Late by three weeks, restated up and down, and taken back whole.
        late = start + 9 * DAY
        fake.rows += [
            Row(late, 12.5, exported=TODAY), Row(late + DAY, -0.75, exported=TODAY),
            Row(start + 2 * DAY, -fake.rows[2].cost, exported=TODAY),
        ]  # fmt: skip
        rig.poll()
        asked = fake.queries[-1]["queryParameters"]
        days = next(p for p in asked if p["name"] == "days")["parameterValue"]["arrayValues"]
        assert len(days) == 3
        assert by_day(bills, "effective") == by_day(bills, "billed") == recount(fake)

        # A day becomes final although no row of it changes.
        rig.ledger.clock.advance(days=3)
        rig.poll()
        final = {line.day for line in bills.standing.values() if line.maturity == "final"}
        assert max(final) == TODAY // DAY - 3
    with running(tmp_path, "gcp_billing", settings(fake), bills=bills,
                 clock=rig.ledger.clock) as rig:  # fmt: skip
        said = rig.poll()
        assert "new" not in said
        assert "restated" not in said
        assert by_day(bills, "effective") == recount(fake)


def test_a_random_history_with_restarts(tmp_path: Path, fake: BigQuery) -> None:
    chance = random.Random(20261122)
    bills, clock = Lines(), FakeClock(NOW * 1000)
    for _ in range(4):
        with running(tmp_path, "gcp_billing", settings(fake), bills=bills, clock=clock) as rig:
            for _ in range(4):
                now = clock.now_ms() // 1000
                fake.rows += [
                    Row(
                        now - chance.randrange(30 * DAY),
                        round(chance.uniform(-1, 20), 9),
                        project=chance.choice(["acme-prod", "acme-dev", None]),
                        cost_type=chance.choice(["regular", "regular", "adjustment"]),
                        credits=[
                            (kind, round(-chance.random(), 9))
                            for kind in ("PROMOTION", "DISCOUNT")
                            if chance.random() < 0.3
                        ],
                        exported=now,
                    )
                    for _ in range(chance.randrange(12))
                ]
                if chance.random() < 0.3:
                    fake.faults.extend([None] * chance.randrange(4) + [Fault(503)] * 4)
                rig.poll()
                fake.faults.clear()
                clock.advance(hours=chance.randrange(1, 40))
            rig.poll()
            assert by_day(bills, "effective") == by_day(bills, "billed") == recount(fake)


def test_a_week_of_bills_at_once(tmp_path: Path, fake: BigQuery) -> None:
    bills = Lines()
    with running(tmp_path, "gcp_billing", settings(fake), bills=bills) as rig:
        assert rig.poll() == "nothing there"
        fake.rows = [Row(TODAY - n * DAY, 10.0 + n, exported=TODAY) for n in range(7)]
        rig.poll()
        assert by_day(bills, "effective") == recount(fake)


def test_the_window_is_that_of_the_use_and_the_partition_that_of_the_load(fake: BigQuery) -> None:
    fake.rows = [
        Row(YESTERDAY - 1, 100.0, exported=TODAY),
        Row(YESTERDAY, 1.0, exported=YESTERDAY - 60),
        Row(TODAY + DAY - 1, 2.0),
    ]
    assert [line.amount for line in read(fake)] == ["1", "2"]
    (loaded,) = (
        p["parameterValue"]["value"] for p in fake.queries[0]["queryParameters"]
        if p["name"] == "loaded"
    )  # fmt: skip
    assert loaded.startswith("2026-11-20")
    assert read(fake, options={"partitioned": "false"})
    assert "_PARTITIONTIME" not in fake.queries[-1]["query"]


def test_scans_are_paid_for_before_they_are_made(tmp_path: Path, fake: BigQuery) -> None:
    fake.rows = [Row(YESTERDAY, 1.0)]
    fake.scanned = 1 << 40
    chosen = settings(fake, options={"max_gib": "2048"})
    allowance = Allowance(nano_a_day=10 * NANO)
    with running(tmp_path, "gcp_billing", chosen, allowance=allowance) as rig:
        said = rig.poll()
        assert said.startswith("failed: budget: 6.25 USD were spent on calls today")
        assert len(fake.queries) == 1
        assert rig.tally("costmeter_source_api_cost_usd_total") == {("gcp",): 6.25}
        assert rig.tally("costmeter_source_api_calls_total") == {("gcp",): 3}


def test_a_query_that_would_scan_too_much_is_not_made(fake: BigQuery) -> None:
    fake.scanned = 200 << 30
    with pytest.raises(SourceError, match=r"200\.0 GiB \(1\.22 USD\), more than option max_gib=50"):
        read(fake)
    assert fake.queries == []


def test_the_limit_that_bigquery_itself_keeps(fake: BigQuery) -> None:
    said = {"error": {"message": "too many", "errors": [{"reason": "bytesBilledLimitExceeded"}]}}
    fake.faults.extend([None, Fault(400, body=json.dumps(said).encode())])
    with pytest.raises(SourceError) as caught:
        read(fake)
    assert caught.value.reason == "budget"


@pytest.mark.parametrize(
    ("scanned", "nano"),
    [(0, 0), (1, 59_605), (10 << 20, 59_605), ((10 << 20) + 1, 65_566), (1 << 40, 6_250_000_000)],
)
def test_the_price_of_a_scan(scanned: int, nano: int) -> None:
    # 6.25 USD / 2^20 MiB, at least 10 MiB and whole ones, rounded up to a nano.
    assert nano_of(scanned) == nano


LIMITED = b'{"error": {"message": "slow", "errors": [{"reason": "rateLimitExceeded"}]}}'
CUT = b'{"kind": "bigquery#query'
FAULTS: dict[str, tuple[list[Fault], str | None]] = {
    "one 500": ([Fault(500)], None),
    "503 for long": ([Fault(503)] * 4, "server"),
    "429 in seconds": ([Fault(429, {"Retry-After": "2"})], None),
    "429 as a date": ([Fault(429, {"Retry-After": "Sun, 22 Nov 2026 10:30:05 GMT"})], None),
    "429 in ms": ([Fault(429, {"retry-after-ms": "1500"})], None),
    "429 by limits": ([Fault(429, {"x-ratelimit-reset": "1"})], None),
    "429 for an hour": ([Fault(429, {"Retry-After": "3600"})], "throttled"),
    "403 that is a limit": ([Fault(403, body=LIMITED)], None),
    "403": ([Fault(403)], "credentials"),
    "401": ([Fault(401)], "credentials"),
    "400": ([Fault(400)], "request"),
    "404": ([Fault(404)], "request"),
    "a redirect": ([Fault(302, {"Location": "http://127.0.0.1:1/"})], "request"),
    "truncated JSON": ([Fault(body=CUT)], None),
    "always truncated": ([Fault(body=CUT)] * 4, "malformed"),
    "a body cut off": ([Fault(cut=10)] * 4, "malformed"),
    "no JSON": ([Fault(body=b"<html>busy</html>")] * 4, "malformed"),
    "a list": ([Fault(body=b"[]")] * 4, "malformed"),
    "nothing": ([Fault(body=b"{}")], "malformed"),
    "cut gzip": (
        [Fault(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"{}" * 500)[:-9])] * 4,
        "malformed",
    ),
}


@pytest.mark.parametrize("where", ["dry run", "query"])
def test_faults(tmp_path: Path, fake: BigQuery, where: str) -> None:
    fake.rows = [Row(YESTERDAY, 1.25), Row(YESTERDAY, 2.0, project="acme-dev")]
    errors: dict[tuple[str, ...], float] = {}
    with running(tmp_path, "gcp_billing", settings(fake), books=False) as rig:
        for fault, (answers, reason) in FAULTS.items():
            rig.pauses.clear()
            fake.faults.extend([None, *answers] if where == "query" else answers)
            said = rig.poll()
            if reason is None:
                assert "failed" not in said, (fault, said)
                assert rig.pauses, fault
                assert all(pause <= 60 for pause in rig.pauses), fault
            else:
                assert said.startswith(f"failed: {reason}"), (fault, said)
                errors["gcp", reason] = errors.get(("gcp", reason), 0) + 1
                rig.ledger.clock.advance(minutes=70 if reason == "throttled" else 1)
                assert rig.poller.due(), fault
                assert not fake.faults, fault
                assert "failed" not in rig.poll(), fault
            assert rig.tally("costmeter_source_errors_total") == errors, fault
            assert rig.bills.nano() == 2 * 3_250_000_000, fault  # on either basis


def test_a_slow_answer_ends_in_time(tmp_path: Path, fake: BigQuery) -> None:
    gate = threading.Event()
    fake.faults.extend([Fault(gate=gate)] * 4)
    with running(tmp_path, "gcp_billing", settings(fake, timeout_seconds=0.2)) as rig:
        assert rig.poll().startswith("failed: timeout: BigQuery took too long to answer")
        gate.set()


def test_nobody_there(tmp_path: Path) -> None:
    fake = BigQuery()
    fake.port = 1
    with running(tmp_path, "gcp_billing", settings(fake)) as rig:
        assert rig.poll().startswith("failed: network: BigQuery: cannot be reached")


def test_a_page_that_repeats(fake: BigQuery) -> None:
    fake.rows = [Row(YESTERDAY, 1.0, sku_id=f"S{n}") for n in range(5)]
    fake.page_size = 2
    again = Fault(change=lambda answer: {**answer, "pageToken": "2"})
    fake.faults.extend([None, None, None, None, None, again])
    with pytest.raises(SourceError) as caught:
        read(fake)
    assert caught.value.reason == "repeated_page"


def test_a_page_that_comes_twice(fake: BigQuery) -> None:
    fake.rows = [Row(YESTERDAY, 1.0, sku_id=f"S{n}") for n in range(5)]
    fake.page_size = 2
    fake.faults.extend([None] * 5)
    fake.faults.append(Fault(change=lambda page: {**page, "rows": page["rows"] * 3}))
    with pytest.raises(SourceError, match="9 rows came of 5") as caught:
        read(fake)
    assert caught.value.reason == "repeated_page"


def test_a_page_that_is_missing(fake: BigQuery) -> None:
    fake.rows = [Row(YESTERDAY, 1.0, sku_id=f"S{n}") for n in range(5)]
    fake.faults.extend([None] * 3)
    fake.faults.append(Fault(change=lambda page: {**page, "rows": page["rows"][:3]}))
    with pytest.raises(SourceError, match="3 rows came of 5") as caught:
        read(fake)
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("amount", None, "amount: missing"),
        ("amount", "NaN", "amount: expected a number"),
        ("amount", "1e99", "amount: an amount beyond all reason"),
        ("currency", "dollars", "currency: expected three letters"),
        ("day", "yesterday", "day: expected a date"),
        ("day", "2026-01-01", "day: is none that was asked for"),
        ("rate", "x", "currency_conversion_rate: expected a number"),
    ],
)
def test_values_that_are_none(fake: BigQuery, column: str, value: Any, said: str) -> None:
    fake.rows = [Row(YESTERDAY, 1.0, currency="EUR", rate=0.9)]

    def change(answer: Any) -> Any:
        names = [one["name"] for one in answer["schema"]["fields"]]
        answer["rows"][0]["f"][names.index(column)]["v"] = value
        return answer

    fake.faults.extend([None, None, None, Fault(change=change)])
    with pytest.raises(SourceError, match=said) as caught:
        read(fake)
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table": ""}, "option table= is no table; write one like table=acme-billing"),
        ({"table": "a`; DROP TABLE x.y.z"}, "is no table"),
        ({"max_gib": "-1"}, "max_gib=-1 is no whole number"),
        ({"tabel": "x"}, "has no option 'tabel'"),
    ],
)
def test_mistakes(fake: BigQuery, options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=f"source 'gcp': .*{said}"):
        make("gcp_billing", settings(fake, options=options))
