"""Meters of Bedrock and the bill of AWS in one ledger, and Cost Explorer as moto speaks it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from costmeter.attribution import Scope
from costmeter.engine.polling import Poller
from costmeter.ledger.polled import Polled
from costmeter.ledger.settle.settlements import Settlements
from costmeter.ledger.terms import Terms
from costmeter.ledger.writer import Writer
from costmeter.sources.contract import Settings
from costmeter.sources.registry import make
from costmeter.sources.secret import Secret
from fakes.aws import KEY, Charge, CostExplorerApi
from fakes.clock import FakeClock
from fakes.reports import serving
from faults.ledgers import Ledger
from sources.rig import DAY, HOUR, NOW, TODAY, pages

MODEL = "amazon.nova-lite-v1:0"
PRICES = f"""
prices:
  - {{provider: aws, model: "{MODEL}", source: test, usd_per_million: {{input: 2, output: 8}}}}
"""
SCOPES = (
    Scope(
        "aws/bedrock", provider="aws*", service="*Bedrock*", detail_from="meters",
        amount_from="bill",
    ),
    Scope("aws/rest", provider="aws", detail_from="none", amount_from="bill"),
    Scope("default"),
)  # fmt: skip


def own(name: str, url: str, **options: str) -> Settings:
    secret = Secret(variable="KEY", environ={"KEY": KEY})
    return Settings(name, secret, base_url=url, options=options)


@pytest.fixture
def url() -> Iterator[str]:
    """moto, without what other tests left in it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        reset = urllib.request.Request(f"{url}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset, timeout=20).close()
        yield url
    finally:
        server.stop()


def test_moto_speaks_cost_explorer(url: str) -> None:
    day = datetime.fromtimestamp(TODAY - DAY, UTC).date()
    period = {"Start": f"{day}", "End": f"{day + timedelta(1)}"}

    def result(keys: list[str], money: str) -> dict[str, object]:
        metrics = {
            name: {"Amount": money, "Unit": "USD"}
            for name in ("NetAmortizedCost", "NetUnblendedCost")
        }
        groups = [{"Keys": keys, "Metrics": metrics}]
        return {"TimePeriod": period, "Total": {}, "Groups": groups, "Estimated": True}

    answers = [
        {
            "ResultsByTime": [result(["Amazon Bedrock", "USE1-a"], "1.2500000000")],
            "NextPageToken": "p2",
        },
        {"ResultsByTime": [result(["Amazon Bedrock", "USE1-b"], "0.0000000019")]},
        {"ResultsByTime": [result(["Tax", "Tax"], "3.1")]},
    ]
    body = json.dumps({"account_id": "123456789012", "results": answers}).encode()
    asked = urllib.request.Request(
        f"{url}/moto-api/static/ce/cost-and-usage-results",
        body,
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(asked, timeout=20).close()
    source = make("aws_cost_explorer", own("bill", url, forecast="false"))
    lines = [line for page in pages(source, TODAY - DAY, TODAY + DAY) for line in page.lines]
    assert [(one.usd_nano, one.charge) for one in lines if one.basis == "effective"] == [
        (1_250_000_000, "usage"), (2, "usage"), (3_100_000_000, "tax"),
    ]  # fmt: skip


def test_a_day_of_bedrock_becomes_its_part_of_the_bill(tmp_path: Path, url: str) -> None:
    """0.20 USD are metered; the bill says 0.15 and a credit, and beside it a whole account."""
    fake = CostExplorerApi()
    clock = FakeClock(NOW * 1000)
    terms = Terms(birth_hold_ms=0, scopes=SCOPES)
    with serving(fake), Ledger(tmp_path, clock, terms, price_text=PRICES) as ledger:
        writer = Writer(ledger.booking, ledger.tally)
        writer.start()
        polled = Polled(ledger.booking, Settlements(ledger.booking))
        meters, bill = (
            Poller(make(kind, chosen), polled, writer, clock, ledger.tally)
            for kind, chosen in (
                ("bedrock", own("meters", url)),
                ("aws_cost_explorer", own("bill", fake.url, forecast="false")),
            )
        )
        assert "failed" not in meters.poll()
        assert "failed" not in bill.poll()
        put(url, TODAY + 5 * HOUR, 100_000)
        fake.records = [
            Charge("2026-11-22", "0.010000001", usage_type="USE1-Guardrail-ContentPolicy"),
            Charge("2026-11-22", "0.14", "Nova Lite (Amazon Bedrock Edition)", "USE1-MP:x"),
            Charge("2026-11-22", "-0.05", record="Credit"),
            Charge("2026-11-22", "7", "Amazon Simple Storage Service", "TimedStorage-ByteHrs"),
            Charge("2026-11-22", "3", "Tax", "", "Tax"),
        ]
        clock.advance(days=1)
        assert "failed" not in meters.poll()
        assert "failed" not in bill.poll()
        assert by_scope(ledger) == {"bedrock": 200_000_000, "rest": 10_000_000_000}
        clock.advance(days=3)
        assert "failed" not in bill.poll()
        assert by_scope(ledger) == {"bedrock": 100_000_001, "rest": 10_000_000_000}
        tenants = ledger.store.connection.execute(
            "SELECT tenant_id, sum(up - down) FROM day_cell JOIN dim USING (dim) "
            "WHERE service LIKE '%Bedrock%' GROUP BY 1"
        )
        assert dict(tenants.fetchall()) == {
            "default": 150_000_001, "unattributed": -50_000_000,
        }  # fmt: skip
        assert bill.poll() == "10 same"
        writer.close()


def put(url: str, at: int, tokens: int) -> None:
    import boto3

    access, secret = KEY.split(":")
    boto3.client(
        "cloudwatch", region_name="us-east-1", endpoint_url=url, aws_access_key_id=access,
        aws_secret_access_key=secret,
    ).put_metric_data(
        Namespace="AWS/Bedrock",
        MetricData=[
            {
                "MetricName": "InputTokenCount", "Value": tokens,
                "Dimensions": [{"Name": "ModelId", "Value": MODEL}],
                "Timestamp": datetime.fromtimestamp(at, UTC),
            }
        ],
    )  # fmt: skip


def by_scope(ledger: Ledger) -> dict[str, int]:
    rows = ledger.store.connection.execute(
        "SELECT CASE WHEN service LIKE '%Bedrock%' THEN 'bedrock' ELSE 'rest' END, sum(up - down) "
        "FROM day_cell JOIN dim USING (dim) GROUP BY 1"
    )
    return dict(rows.fetchall())
