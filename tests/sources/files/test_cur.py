"""AWS Cost and Usage Reports, old and new, and Azure's details."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from costmeter.cli import main
from costmeter.model import BillLine
from costmeter.sources.files.cur import column
from costmeter.sources.registry import make
from fakes.clock import FakeClock
from sources.files.bills import DATA, Row, csv_text, own, recomputed, total
from sources.rig import DAY, NOW, Lines, pages, running

CUR = DATA / "billing" / "aws_cur_first200.csv"
AZURE = DATA / "billing" / "azure_ea_27.csv"
OLD: Mapping[str, object] = {
    "bill/PayerAccountId": "999",
    "lineItem/UsageAccountId": "111",
    "lineItem/LineItemType": "Usage",
    "lineItem/UsageStartDate": "2026-11-20T10:00:00Z",
    "lineItem/UsageEndDate": "2026-11-20T11:00:00Z",
    "lineItem/ProductCode": "AmazonEC2",
    "lineItem/UsageType": "BoxUsage:p5.48xlarge",
    "lineItem/CurrencyCode": "USD",
    "lineItem/UnblendedCost": "7",
    "product/ProductName": "Amazon Elastic Compute Cloud",
    "product/regionCode": "us-east-1",
    "pricing/publicOnDemandCost": "9",
    "reservation/EffectiveCost": "",
    "reservation/ReservationARN": "",
    "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod": "",
    "reservation/UnusedRecurringFee": "",
    "savingsPlan/SavingsPlanEffectiveCost": "",
    "savingsPlan/TotalCommitmentToDate": "",
    "savingsPlan/UsedCommitment": "",
    "resourceTags/user:team": "search",
}
ARN = {"reservation/ReservationARN": "arn:aws:ec2:1"}


def lines_of(folder: Path, *rows: Row, kind: str = "cur", **options: str) -> list[BillLine]:
    path = folder / "bill.csv"
    path.write_bytes(csv_text(rows))
    since = (NOW - 400 * DAY) // DAY * DAY
    found = pages(make(kind, own(path, **options)), since, NOW)
    return [line for page in found for line in page.lines]


def test_columns_of_the_old_report_in_the_new_spelling() -> None:
    for old, new in {
        "lineItem/UnblendedCost": "line_item_unblended_cost",
        "lineItem/UsageStartDate": "line_item_usage_start_date",
        "bill/PayerAccountId": "bill_payer_account_id",
        "product/ProductName": "product_product_name",
        "product/regionCode": "product_region_code",
        "pricing/publicOnDemandCost": "pricing_public_on_demand_cost",
        "reservation/ReservationARN": "reservation_reservation_a_r_n",
        "savingsPlan/NetSavingsPlanEffectiveCost":
            "savings_plan_net_savings_plan_effective_cost",
        "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod":
            "reservation_unused_amortized_upfront_fee_for_billing_period",
        "line_item_unblended_cost": "line_item_unblended_cost",
        "resourceTags/user:team": "resourceTags/user:team",
    }.items():  # fmt: skip
        assert column(old) == new


@pytest.mark.parametrize(
    ("changes", "charge", "billed", "effective"),
    [
        ({}, "usage", "7", "7"),
        ({"lineItem/LineItemType": "DiscountedUsage", "reservation/EffectiveCost": "3", **ARN},
         "usage", "7", "3"),
        ({"lineItem/LineItemType": "SavingsPlanCoveredUsage",
          "savingsPlan/SavingsPlanEffectiveCost": "4"}, "usage", "7", "4"),
        ({"lineItem/LineItemType": "SavingsPlanNegation", "lineItem/UnblendedCost": "-7"},
         "usage", "-7", "0"),
        ({"lineItem/LineItemType": "SavingsPlanRecurringFee",
          "savingsPlan/TotalCommitmentToDate": "10", "savingsPlan/UsedCommitment": "9.5"},
         "purchase", "7", "0.5"),
        ({"lineItem/LineItemType": "SavingsPlanUpfrontFee"}, "purchase", "7", "0"),
        ({"lineItem/LineItemType": "RIFee", **ARN,
          "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod": "1",
          "reservation/UnusedRecurringFee": "0.25"}, "purchase", "7", "1.25"),
        ({"lineItem/LineItemType": "Fee", **ARN}, "purchase", "7", "0"),
        ({"lineItem/LineItemType": "Fee"}, "purchase", "7", "7"),
        ({"lineItem/LineItemType": "Tax"}, "tax", "7", "7"),
        ({"lineItem/LineItemType": "Credit", "lineItem/UnblendedCost": "-7"},
         "credit", "-7", "-7"),
        ({"lineItem/LineItemType": "Refund"}, "adjustment", "7", "7"),
        ({"lineItem/LineItemType": "Fee", "lineItem/ProductCode": "AWSSupportBusiness"},
         "support", "7", "7"),
    ],
)  # fmt: skip
def test_amortised_cost_by_type(
    tmp_path: Path, changes: Row, charge: str, billed: str, effective: str
) -> None:
    for spelling in (str, column):
        row = {spelling(name): value for name, value in {**OLD, **changes}.items()}
        found = lines_of(tmp_path, row)
        assert {line.charge for line in found} == {charge}
        assert total(found, "billed") == Decimal(billed)
        assert total(found, "effective") == Decimal(effective)
        assert total(found, "list") == 9


def test_net_columns_come_before_the_others(tmp_path: Path) -> None:
    row = {
        **OLD,
        "lineItem/LineItemType": "DiscountedUsage",
        "lineItem/NetUnblendedCost": "5",
        "reservation/EffectiveCost": "3",
        "reservation/NetEffectiveCost": "2",
    }
    found = lines_of(tmp_path, row)
    assert (total(found, "billed"), total(found, "effective")) == (5, 2)


def test_what_a_row_becomes(tmp_path: Path) -> None:
    (line, *_) = lines_of(tmp_path, OLD, team_tag="team")
    labels = line.labels
    assert (labels.provider, labels.account, labels.project) == ("aws", "111", "111")
    assert (labels.category, labels.region, labels.team) == ("gpu_compute", "us-east-1", "search")
    new: dict[str, object] = {
        column(name): value for name, value in OLD.items() if "Tags" not in name
    }
    del new["product_product_name"]
    new["product"] = '{"product_name": "Amazon Elastic Compute Cloud"}'
    new["resource_tags"] = '{"user_team": "search"}'
    assert lines_of(tmp_path, new, team_tag="team")[0] == line


def test_azure_details(tmp_path: Path) -> None:
    row = {
        "Date": "11/20/2026", "SubscriptionId": "s-1", "MeterCategory": "Azure OpenAI",
        "MeterSubCategory": "Azure OpenAI", "MeterName": "gpt-4o 1120 Inp glbl Tokens",
        "CostInBillingCurrency": "5.64902E-05", "BillingCurrencyCode": "CAD", "Quantity": "2",
        "PayGPrice": "0.01", "ChargeType": "Usage", "ResourceLocation": "EastUS2",
        "Tags": '"team": "search","b": "c"',
    }  # fmt: skip
    found = lines_of(tmp_path, row, kind="azure_ea", team_tag="team")
    amounts = {line.basis: line.amount for line in found}
    assert amounts == {"effective": "0.0000564902", "billed": "0.0000564902", "list": "0.02"}
    labels = found[0].labels
    assert (labels.model, labels.team, labels.region) == ("gpt-4o", "search", "eastus2")
    assert (found[0].usd_nano, labels.category, labels.project) == (None, "llm_api", "s-1")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("kind", "path", "name", "day", "rows"),
    [
        ("cur", CUR, "lineItem/UnblendedCost", "2023-12-10", 200),
        ("azure_ea", AZURE, "CostInBillingCurrency", "2023-09-10", 27),
    ],
)
def test_every_row_of_a_real_file_is_accounted_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
    kind: str, path: Path, name: str, day: str, rows: int,
) -> None:  # fmt: skip
    if not path.exists():
        pytest.skip(f"{path} is not there; set COSTMETER_DATA")
    now = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    bills = Lines()
    clock = FakeClock(now * 1000)
    with running(tmp_path, kind, own(path), bills=bills, clock=clock) as rig:
        assert "failed" not in rig.poll()
    assert total(bills, "billed") == recomputed(path, name)
    assert total(bills, "effective") == recomputed(path, name)
    assert main(["bills", "check", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["unreadable"]) == (rows, 0)
