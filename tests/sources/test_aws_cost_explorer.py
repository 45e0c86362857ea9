"""Cost Explorer: the whole bill, once, to the nano, for as few cents as there is a way."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from costmeter.model import NANO_PER_USD, BillLine
from costmeter.sources.allowance import Allowance
from costmeter.sources.aws_bill import charge_of
from costmeter.sources.aws_forecast import next_month_ms
from costmeter.sources.aws_regions import region_of_usage
from costmeter.sources.contract import OwnerRule, Settings, SourceError
from costmeter.sources.registry import make
from costmeter.sources.secret import Secret
from fakes.aws import Charge, CostExplorerApi, refused
from fakes.clock import FakeClock
from fakes.reports import Fault, serving
from sources.rig import DAY, TODAY, Lines, Rig, pages, running, settings

YESTERDAY = TODAY - DAY
QUIET = {"forecast": "false"}


@pytest.fixture
def fake() -> Iterator[CostExplorerApi]:
    with serving(CostExplorerApi()) as served:
        assert isinstance(served, CostExplorerApi)
        yield served


def of(fake: CostExplorerApi, tmp_path: Path, options: Any = QUIET, **changes: Any) -> Any:
    chosen = settings(fake, options=options, **changes.pop("chosen", {}))
    return running(tmp_path, "aws_cost_explorer", chosen, **changes)


def read(fake: CostExplorerApi, options: Any = QUIET, **changes: Any) -> list[BillLine]:
    source = make("aws_cost_explorer", settings(fake, options=options, **changes))
    return [line for page in pages(source, TODAY - 5 * DAY, TODAY + DAY) for line in page.lines]


def other_folder(tmp_path: Path) -> Path:
    (tmp_path / "other").mkdir()
    return tmp_path / "other"


def totals(fake: CostExplorerApi) -> dict[str, int]:
    """Both bases, added up from the records alone."""
    found = {"effective": Decimal(), "billed": Decimal()}
    for one in fake.records:
        found["effective"] += Decimal(one.amount)
        found["billed"] += Decimal(one.amount if one.billed is None else one.billed)
    return {basis: round(money * NANO_PER_USD) for basis, money in found.items()}


def held(rig: Rig) -> dict[str, int]:
    found = {"effective": 0, "billed": 0}
    for line in rig.bills.standing.values():
        found[line.basis] += line.usd_nano or 0
    return found


MONTH = [
    Charge("2026-11-20", "1.25", usage_type="USE1-Nova-input-tokens"),
    Charge("2026-11-20", "2.000000001", "Claude Sonnet 4.5 (Amazon Bedrock Edition)",
           usage_type="EUC1-MP:EUC1_InputTokenCount-Units"),
    Charge("2026-11-20", "9", "Amazon Elastic Compute Cloud - Compute", "BoxUsage:p5.48xlarge",
           "SavingsPlanCoveredUsage", billed="14"),
    Charge("2026-11-20", "0", "Amazon Elastic Compute Cloud - Compute", "BoxUsage:p5.48xlarge",
           "SavingsPlanNegation", billed="-14"),
    Charge("2026-11-20", "0.5", "Savings Plans for AWS Compute usage", "ComputeSP:1yrNoUpfront",
           "SavingsPlanRecurringFee", billed="10"),
    Charge("2026-11-20", "3", "Tax", "", "Tax"),
    Charge("2026-11-20", "7", "AWS Support (Business)", "Dollar", "Support"),
    Charge("2026-11-20", "-2", "Amazon Bedrock", "USE1-Nova-input-tokens", "Credit"),
    Charge("2026-11-20", "-1", "Amazon Bedrock", "USE1-Nova-input-tokens", "Refund"),
    Charge("2026-11-20", "-0.25", "Amazon Bedrock", "x", "Private Rate Card Discount"),
]  # fmt: skip


@pytest.mark.parametrize("group", ["usage_type", "account", "none", "tag"])
@pytest.mark.parametrize("page_size", [3, 1_000])
def test_every_dollar_once_however_it_is_grouped(
    fake: CostExplorerApi, group: str, page_size: int
) -> None:
    fake.records, fake.page_size = list(MONTH), page_size
    tag = {"team_tag": "team"} if group == "tag" else {}
    lines = read(fake, {**QUIET, "group": group, **tag})
    for basis, nano in totals(fake).items():
        assert sum(line.usd_nano or 0 for line in lines if line.basis == basis) == nano
    by_charge: dict[str, int] = {}
    for line in lines:
        if line.basis == "effective":
            by_charge[line.charge] = by_charge.get(line.charge, 0) + (line.usd_nano or 0)
    assert by_charge == {
        "usage": 12_250_000_001, "purchase": 500_000_000, "tax": 3 * 10**9, "support": 7 * 10**9,
        "credit": -2 * 10**9, "adjustment": -1_250_000_000,
    }  # fmt: skip


def test_requests_are_as_few_as_can_be(fake: CostExplorerApi) -> None:
    fake.records = list(MONTH)
    read(fake)
    assert len(fake.asked) == 2
    read(fake, {**QUIET, "group": "none"})
    assert len(fake.asked) == 3


def test_lines_say_what_scopes_and_people_look_for(fake: CostExplorerApi) -> None:
    fake.records = list(MONTH)
    lines = {line.line: line for line in read(fake) if line.basis == "effective"}
    claude = lines[
        "Usage | Claude Sonnet 4.5 (Amazon Bedrock Edition) | EUC1-MP:EUC1_InputTokenCount-Units"
    ]
    assert (claude.labels.provider, claude.labels.region) == ("aws", "eu-central-1")
    assert (claude.labels.model, claude.labels.category) == ("", "llm_api")
    assert claude.labels.service == "Claude Sonnet 4.5 (Amazon Bedrock Edition)"
    assert claude.labels.tenant_id == ""
    node = lines["Usage | Amazon Elastic Compute Cloud - Compute | BoxUsage:p5.48xlarge"]
    assert (node.labels.region, node.labels.category) == ("us-east-1", "gpu_compute")
    assert node.usd_nano == 9 * 10**9
    assert lines["Support | AWS Support (Business)"].labels.category == "support"


def test_accounts_are_accounts_and_have_owners(fake: CostExplorerApi) -> None:
    fake.records = [
        Charge("2026-11-20", "1"), Charge("2026-11-20", "2", account="444455556666"),
    ]  # fmt: skip
    owners = (OwnerRule(project="4444*", tenant_id="acme", team="search"),)
    lines = read(fake, {**QUIET, "group": "account"}, owners=owners, account="payer")
    assert [
        (one.labels.account, one.labels.project, one.labels.tenant_id, one.labels.team)
        for one in lines
        if one.basis == "effective"
    ] == [
        ("111122223333", "111122223333", "", ""),
        ("444455556666", "444455556666", "acme", "search"),
    ]


def test_a_tag_says_whose_it_is(fake: CostExplorerApi) -> None:
    fake.records = [
        Charge("2026-11-20", "1", tags={"owner": "acme$ltd"}), Charge("2026-11-20", "2"),
    ]  # fmt: skip
    lines = read(fake, {**QUIET, "tenant_tag": "owner", "team_tag": "owner"}, tenant_id="rest")
    assert sorted(
        (one.labels.tenant_id, one.labels.team, one.amount)
        for one in lines
        if one.basis == "effective"
    ) == [("acme$ltd", "acme$ltd", "1"), ("rest", "", "2")]


def test_where_net_metrics_are_missing_the_plain_ones_count(fake: CostExplorerApi) -> None:
    fake.records, fake.net = list(MONTH), False
    lines = read(fake)
    for basis, nano in totals(fake).items():
        assert sum(line.usd_nano or 0 for line in lines if line.basis == basis) == nano


def test_free_models_are_lines_and_other_free_groups_are_none(fake: CostExplorerApi) -> None:
    fake.records = [
        Charge("2026-11-20", "0"), Charge("2026-11-20", "0", "Amazon Simple Queue Service", "Req"),
        Charge("2026-11-20", "0", unit="N/A", usage_type="other"),
    ]  # fmt: skip
    assert [(one.labels.service, one.amount) for one in read(fake)] == [
        ("Amazon Bedrock", "0")
    ] * 4  # fmt: skip


def test_another_currency_is_another_line_without_usd(fake: CostExplorerApi) -> None:
    fake.records = [Charge("2026-11-20", "8.5", unit="CNY")]
    line = read(fake)[0]
    assert (line.amount, line.currency, line.usd_nano) == ("8.5", "CNY", None)
    assert line.line.endswith(" | CNY")


def test_a_day_is_final_when_invoiced_or_old_enough(fake: CostExplorerApi) -> None:
    fake.closed = "2026-11-18"
    fake.records = [Charge(f"2026-11-{day}", "1") for day in range(17, 23)]
    found = {
        line.day - TODAY // DAY: line.maturity for line in read(fake, {**QUIET, "group": "none"})
    }
    assert found == {
        -5: "final", -4: "final", -3: "provisional", -2: "provisional", -1: "provisional",
        0: "estimated",
    }  # fmt: skip
    late = read(fake, {**QUIET, "final_after_days": "40"})
    assert {line.day - TODAY // DAY for line in late if line.maturity == "final"} == {-5}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tenant_tag": "a", "team_tag": "b"}, "groups by one tag; write a for each label"),
        ({"group": "account", "team_tag": "a"}, "group=account leaves no key for the tag"),
        ({"group": "tag"}, "group=tag needs one of tenant_tag"),
        ({"group": "region"}, "option group=region is none of usage_type"),
        ({"region": "us"}, "'us' is no region"),
        ({"role_arn": "me"}, "role_arn=me is no role"),
        ({"external_id": "x"}, "external_id needs role_arn"),
        ({"profile": "x"}, "profile stands beside a key"),
    ],
)
def test_options_that_do_not_go_together(
    fake: CostExplorerApi, options: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        make("aws_cost_explorer", settings(fake, options=options))


@pytest.mark.parametrize(
    ("record", "service", "charge"),
    [
        ("Usage", "Amazon Bedrock", "usage"), ("Usage", "AWS Support (Enterprise)", "support"),
        ("DiscountedUsage", "x", "usage"), ("Savings Plan Covered Usage", "x", "usage"),
        ("SavingsPlanNegation", "x", "usage"), ("RIFee", "x", "purchase"),
        ("Recurring reservation fee", "x", "purchase"),
        ("Savings Plan Upfront Fee", "x", "purchase"),
        ("Tax", "x", "tax"), ("Support fee", "x", "support"), ("Credit", "x", "credit"),
        ("Refund", "x", "adjustment"), ("Something New", "x", "adjustment"),
    ],
)  # fmt: skip
def test_record_types(record: str, service: str, charge: str) -> None:
    assert charge_of(record, service) == charge


@pytest.mark.parametrize(
    ("service", "usage", "region"),
    [
        ("Amazon Bedrock", "USE1-Nova-input-tokens", "us-east-1"),
        ("Amazon Elastic Compute Cloud - Compute", "EU-BoxUsage:m5.large", "eu-west-1"),
        ("Amazon Elastic Compute Cloud - Compute", "BoxUsage:m5.large", "us-east-1"),
        ("EC2 - Other", "APS3-EBS:VolumeUsage.gp3", "ap-south-1"),
        ("Amazon CloudFront", "EU-Requests-Tier1", ""),
        ("Amazon Route 53", "DNS-Queries", ""),
        ("Amazon Route 53", "", ""),
    ],
)
def test_regions(service: str, usage: str, region: str) -> None:
    assert region_of_usage(service, usage) == region


def without_net(answer: Any) -> Any:
    for result in answer["ResultsByTime"]:
        for group in result["Groups"]:
            group["Metrics"] = {"UsageQuantity": {"Amount": "1"}}
    return answer


def with_amount(value: Any) -> Any:
    def change(answer: Any) -> Any:
        for result in answer["ResultsByTime"]:
            for group in result["Groups"]:
                group["Metrics"]["NetAmortizedCost"]["Amount"] = value
        return answer

    return change


def with_period(start: str, end: str) -> Any:
    def change(answer: Any) -> Any:
        answer["ResultsByTime"][0]["TimePeriod"] = {"Start": start, "End": end}
        return answer

    return change


CUT = b'{"ResultsByTime": [{"TimePeriod": {"Sta'
#: (the answers that go wrong, the reason of the poll that they fail or None).
FAULTS: dict[str, tuple[list[Fault], str | None]] = {
    "one 500": ([Fault(500)], None),
    "503 for long": ([Fault(503)] * 4, "server"),
    "429 in seconds": ([Fault(429, {"Retry-After": "2"})], None),
    "429 as a date": ([Fault(429, {"Retry-After": "Sun, 22 Nov 2026 10:30:05 GMT"})], None),
    "429 in ms": ([Fault(429, {"retry-after-ms": "1500"})], None),
    "429 by limits": ([Fault(429, {"x-ratelimit-reset-requests": "1s"})], None),
    "429 for an hour": ([Fault(429, {"Retry-After": "3600"})], "throttled"),
    "throttling": ([refused("ThrottlingException", "Rate exceeded")], None),
    "limit": ([refused("LimitExceededException", "You made too many calls")] * 4, "throttled"),
    "denied": ([refused("AccessDeniedException", "is not authorized", 400)], "credentials"),
    "403": ([Fault(403)], "credentials"),
    "expired": ([refused("ExpiredTokenException", "The security token expired")], "credentials"),
    "signature": ([refused("SignatureDoesNotMatch", "no", 403)], "credentials"),
    "validation": ([refused("ValidationException", "Start date is too old")], "request"),
    "no data yet": ([refused("DataUnavailableException", "not available")], "request"),
    "report changed": ([refused("BillExpirationException", "expired")], "request"),
    "a redirect": ([Fault(302, {"Location": "http://127.0.0.1:1/"})], "request"),
    "truncated JSON": ([Fault(body=CUT)], None),
    "always truncated": ([Fault(body=CUT)] * 4, "malformed"),
    "a body cut off": ([Fault(cut=10)] * 4, "malformed"),
    "no JSON": ([Fault(body=b"<html>busy</html>")] * 4, "malformed"),
    "a list": ([Fault(body=b"[]")] * 4, "malformed"),
    "nothing in it": ([Fault(body=b"{}")] * 4, "malformed"),
    "null": ([Fault(change=lambda a: {**a, "ResultsByTime": None})] * 4, "malformed"),
    "results are a number": ([Fault(change=lambda a: {**a, "ResultsByTime": 5})] * 4, "malformed"),
    "no amount": ([Fault(change=without_net)], "malformed"),
    "NaN": ([Fault(change=with_amount("NaN"))], "malformed"),
    "no number": ([Fault(change=with_amount("much"))], "malformed"),
    "a float": ([Fault(change=with_amount(1.5))], "malformed"),
    "a month": ([Fault(change=with_period("2026-11-01", "2026-12-01"))], "malformed"),
    "another day": ([Fault(change=with_period("2020-11-01", "2020-11-02"))], "malformed"),
}


@pytest.mark.slow
def test_faults(fake: CostExplorerApi, tmp_path: Path) -> None:
    fake.records = list(MONTH)
    errors: dict[tuple[str, ...], float] = {}
    with of(fake, tmp_path, books=False) as rig:
        for fault, (answers, reason) in FAULTS.items():
            rig.pauses.clear()
            fake.faults.extend(answers)
            said = rig.poll()
            if reason is None:
                assert "failed" not in said, (fault, said)
                assert rig.pauses, fault
                assert all(pause <= 60 for pause in rig.pauses), fault
            else:
                assert said.startswith(f"failed: {reason}"), (fault, said)
                errors["bill", reason] = errors.get(("bill", reason), 0) + 1
                assert not rig.poller.due(), fault
                rig.ledger.clock.advance(minutes=70 if reason == "throttled" else 1)
                assert rig.poller.due(), fault
                fake.faults.clear()
                assert "failed" not in rig.poll(), fault
            assert rig.tally("costmeter_source_errors_total") == errors, fault
            assert held(rig) == totals(fake), fault
            for secret in fake.key.split(":"):
                assert secret not in said, fault


@pytest.mark.parametrize(
    "change",
    [
        lambda a: {**a, "NextPageToken": "page 0"},
        lambda a: {**a, "ResultsByTime": [], "NextPageToken": "page 9"},
    ],
)
def test_a_page_that_repeats_ends_with_an_error(
    fake: CostExplorerApi, tmp_path: Path, change: Any
) -> None:
    fake.records = [*MONTH, Charge("2026-10-01", "1")]
    with of(fake, tmp_path) as rig:
        fake.faults.extend([Fault(change=change)] * 50)
        assert rig.poll().startswith("failed: repeated_page: a ")
        assert len(fake.asked) < 10
        fake.faults.clear()
        assert "failed" not in rig.poll()
        assert held(rig) == totals(fake)


@pytest.mark.slow
def test_slow_answers_and_nobody_there(fake: CostExplorerApi, tmp_path: Path) -> None:
    fake.records = list(MONTH)
    gate = threading.Event()
    with of(fake, tmp_path, chosen={"timeout_seconds": 0.2}) as rig:
        fake.faults.extend([Fault(gate=gate)] * 4)
        assert rig.poll().startswith("failed: timeout: ce: ")
        gate.set()
        fake.faults.clear()
        assert "failed" not in rig.poll()
        assert held(rig) == totals(fake)
    fake.port = 1
    with of(fake, other_folder(tmp_path)) as rig:
        assert rig.poll().startswith("failed: network: ce: ")


def test_what_failed_to_be_kept_is_asked_again(fake: CostExplorerApi, tmp_path: Path) -> None:
    """The memory of what is closed follows the ledger, not what was read."""
    fake.records = [Charge("2026-10-20", "1"), Charge("2026-11-20", "2")]
    with of(fake, tmp_path) as rig:
        rig.bills.error = ValueError("a line that nobody can keep")
        assert "nobody can keep" in rig.poll()
        rig.bills.error = None
        assert "failed" not in rig.poll()
        assert held(rig) == totals(fake)


def test_what_is_invoiced_is_not_asked_again(fake: CostExplorerApi, tmp_path: Path) -> None:
    def asked() -> list[str]:
        found = [str(one.body) for one in fake.asked]
        fake.asked.clear()
        return [text.partition('"Start": "')[2][:10] for text in found]

    fake.records = [Charge("2026-10-20", "1"), Charge("2026-11-20", "2")]
    with of(fake, tmp_path) as rig:
        rig.poll()
        assert asked() == ["2026-09-24", "2026-09-24"]
        rig.ledger.clock.advance(hours=12)  # half past ten in the evening
        rig.poll()
        assert asked() == ["2026-11-18", "2026-11-18"]
        rig.ledger.clock.advance(hours=12)
        rig.poll()
        assert asked() == ["2026-11-01", "2026-11-01"]
        assert rig.tally("costmeter_source_api_calls_total") == {("bill",): 6}
        assert rig.tally("costmeter_source_api_cost_usd_total")["bill",] == pytest.approx(0.06)
        # The invoice of November changes its days once more; a week later it is closed.
        fake.records[1] = Charge("2026-11-20", "2.5")
        rig.ledger.clock.advance(days=14)
        fake.closed = "2026-12-01"
        rig.poll()
        assert asked() == ["2026-11-01", "2026-11-01"]
        assert held(rig) == totals(fake)
        rig.ledger.clock.advance(days=1)
        rig.poll()
        assert asked() == ["2026-12-01", "2026-12-01"]


def test_a_poll_costs_money_and_stops_at_its_budget(fake: CostExplorerApi, tmp_path: Path) -> None:
    fake.records, fake.page_size = list(MONTH), 1
    with of(fake, tmp_path, allowance=Allowance(None, 50_000_000)) as rig:
        said = rig.poll()
        assert said.startswith("failed: budget: 0.05 USD were spent on calls today")
        assert len(fake.asked) == 5
        assert rig.tally("costmeter_source_api_cost_usd_total")["bill",] == pytest.approx(0.05)


def test_random_restatements_end_at_what_aws_says(fake: CostExplorerApi, tmp_path: Path) -> None:
    chance = random.Random(7)
    records = ["Usage", "Usage", "DiscountedUsage", "Tax", "Credit", "Refund", "RIFee", "Support"]
    bills, clock = Lines(), FakeClock(TODAY * 1000)
    fake.page_size = 7
    for step in range(5):
        options = {**QUIET, "group": chance.choice(["usage_type", "account", "none"])}
        with of(fake, tmp_path, options, bills=bills, clock=clock) as rig:
            fake.records = [
                Charge(
                    f"2026-11-{chance.randrange(10, 23)}",
                    f"{chance.randrange(-(10**9), 10**12)}e-9",
                    chance.choice(["Amazon Bedrock", "Amazon SageMaker"]),
                    chance.choice(["USE1-a", "USE1-b", "EUC1-a"]),
                    chance.choice(records),
                    chance.choice(["111122223333", "444455556666"]),
                    billed=f"{chance.randrange(10**12)}e-9",
                )
                for _ in range(chance.randrange(40))
            ]
            if step % 3 == 0:
                fake.faults.extend([None, Fault(500), Fault(429, {"Retry-After": "1"})])
            assert "failed" not in rig.poll()
            assert held(rig) == totals(fake)
            before = len(bills.history)
            rig.another().poll()
            assert len(bills.history) == before
            clock.advance(minutes=11)


FORECAST = {"mean": "310.5", "80": ("300.1", "320.9"), "95": ("290", "331.000000001")}


def test_a_forecast_is_shown_with_its_intervals(fake: CostExplorerApi, tmp_path: Path) -> None:
    fake.records, fake.forecast = list(MONTH), dict(FORECAST)
    clock = FakeClock(TODAY * 1000)
    shown = {
        ("bill", "mean"): 310.5, ("bill", "lower_80"): 300.1, ("bill", "upper_80"): 320.9,
        ("bill", "lower_95"): 290, ("bill", "upper_95"): 331.000000001,
    }  # fmt: skip
    name = "llm_provider_forecast_cost"
    with of(fake, tmp_path, {}, clock=clock) as rig:
        assert "failed" not in rig.poll()
        assert rig.tally(name) == pytest.approx(shown)
        asked = len(fake.asked)
        rig.poll()
        assert len(fake.asked) == asked + 2  # once a day
        fake.forecast["mean"] = "311"
        clock.advance(days=1)
        rig.poll()
        assert rig.tally(name)["bill", "mean"] == 311
    with of(fake, tmp_path, {}, clock=clock) as rig:
        rig.poller.remember()
        assert rig.tally(name)["bill", "mean"] == 311  # a restart forgets nothing
        fake.forecast = None
        clock.advance(days=1)
        assert "failed" not in rig.poll()
        assert rig.tally(name)["bill", "mean"] == 311
        clock.advance(days=8)
        fake.faults.append(Fault(403))
        rig.poll()
        assert rig.tally(name) == {}  # its month is over


@pytest.mark.parametrize(
    "fault",
    [
        refused("AccessDeniedException", "User is not authorized to perform: ce:GetCostForecast"),
        refused("DataUnavailableException", "Insufficient amount of historical data"),
        Fault(change=lambda a: {**a, "Total": {"Amount": "1", "Unit": "CNY"}}),
        Fault(change=lambda a: {**a, "ForecastResultsByTime": []}),
    ],
)
def test_the_bill_stands_without_a_forecast(
    fake: CostExplorerApi, tmp_path: Path, fault: Fault
) -> None:
    fake.records, fake.forecast = list(MONTH), dict(FORECAST)
    fake.faults.extend([None, None, fault, fault, fault, fault])
    with of(fake, tmp_path, {}) as rig:
        assert "failed" not in rig.poll()
        assert held(rig) == totals(fake)
        assert rig.tally("llm_provider_forecast_cost") == {}


def test_keys_are_shown_to_nobody(
    fake: CostExplorerApi, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    access, secret = fake.key.split(":")
    with of(fake, tmp_path) as rig:
        said_of_aws = f"The request signature for {access} with {secret} does not match"
        fake.faults.append(refused("InvalidSignatureException", said_of_aws, 403))
        said = rig.poll()
        assert said.startswith("failed: credentials: ce answered 403 InvalidSignatureException")
        aws = vars(rig.source)["_aws"]
        for text in (said, caplog.text, repr(rig.source), str(vars(rig.source)), str(vars(aws))):
            assert access not in text
            assert secret not in text
    fake.key = "only-one-word"
    with of(fake, other_folder(tmp_path)) as rig:
        assert "write ACCESS_KEY_ID:SECRET_ACCESS_KEY" in rig.poll()


@pytest.mark.parametrize(
    ("now", "until"),
    [("2026-11-22T10:30", "2026-12-01"), ("2026-12-31T23:59", "2027-01-01"),
     ("2027-01-01T00:00", "2027-02-01")],
)  # fmt: skip
def test_a_forecast_ends_with_its_utc_month(now: str, until: str) -> None:
    def ms(said: str) -> int:
        return int(datetime.fromisoformat(said).replace(tzinfo=UTC).timestamp()) * 1000

    assert next_month_ms(ms(now)) == ms(until)


def test_no_proxy_of_the_environment_is_used(
    fake: CostExplorerApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    fake.records = list(MONTH)
    assert read(fake)


def test_credentials_of_the_environment(
    fake: CostExplorerApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    fake.records = list(MONTH)
    keyless = Settings("bill", Secret(), base_url=fake.url, options=QUIET)
    with running(tmp_path, "aws_cost_explorer", keyless) as rig:
        said = rig.poll()
        assert said == "failed: credentials: ce: Unable to locate credentials"
        access, secret = fake.key.split(":")
        (tmp_path / "credentials").write_text(
            f"[default]\naws_access_key_id={access}\naws_secret_access_key={secret}\n"
        )
        assert "failed" not in rig.poll()  # found without a restart
        assert held(rig) == totals(fake)
    unknown = Settings("bill", Secret(), base_url=fake.url, options={"profile": "nobody"})
    with running(tmp_path, "aws_cost_explorer", unknown) as rig:
        assert "credentials: ce: The config profile (nobody) could not be found" in rig.poll()


def test_a_missing_package_is_named(fake: CostExplorerApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    for kind in ("aws_cost_explorer", "bedrock"):
        with pytest.raises(ValueError, match=r"pip install 'costmeter\[aws\]'"):
            make(kind, settings(fake))


def test_errors_that_a_report_cannot_have(fake: CostExplorerApi) -> None:
    fake.faults.append(
        Fault(change=lambda a: {**a, "ResultsByTime": [{"Groups": [{"Keys": ["a"]}]}]})
    )
    with pytest.raises(SourceError, match="Start: expected an instant"):
        read(fake)
