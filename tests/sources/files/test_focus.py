"""FOCUS files through the real poller and ledger; totals are recomputed from the rows."""

from __future__ import annotations

import gzip
import json
import zipfile
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from costmeter.cli import main
from costmeter.model import BillLine
from costmeter.sources.contract import Settings, SourceError
from costmeter.sources.registry import make
from costmeter.sources.secret import Secret
from fakes.clock import FakeClock
from sources.files.bills import COSTS, DATA, Row, csv_text, focus_row, own, recomputed, total
from sources.rig import DAY, NOW, Lines, Rig, pages, running

SAMPLE = DATA / "billing" / "focus_1.0_sample_first300.csv"


def lines_of(path: Path, kind: str = "focus", now: int = NOW, **options: str) -> list[BillLine]:
    source = make(kind, own(path, **options))
    since = (now - 400 * DAY) // DAY * DAY
    return [line for page in pages(source, since, now, now) for line in page.lines]


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "ledger"
    folder.mkdir(exist_ok=True)
    return folder


def written(folder: Path, *rows: Row, name: str = "bill.csv") -> Path:
    path = folder / name
    path.write_bytes(csv_text(rows))
    return path


def test_every_cost_is_a_basis_and_is_exact(tmp_path: Path) -> None:
    rows = [focus_row(cost=f"0.{n:030d}", SubAccountId=f"{n % 3}") for n in range(1, 60)]
    found = lines_of(written(tmp_path, *rows))
    assert {line.basis for line in found} == set(COSTS)
    for basis, column in COSTS.items():
        assert total(found, basis) == sum(Decimal(str(row[column])) for row in rows)


def test_what_a_row_becomes(tmp_path: Path) -> None:
    path = written(tmp_path, focus_row())
    (line,) = [
        one
        for one in lines_of(path, team_tag="team", environment_tag="env")
        if one.basis == "billed"
    ]
    labels = line.labels
    assert (labels.provider, labels.account, labels.project) == ("aws", "111", "111")
    assert (labels.service, labels.region) == ("Amazon Elastic Compute Cloud", "us-east-1")
    assert (labels.category, labels.team, labels.environment) == ("cpu_compute", "search", "prod")
    assert (labels.tenant_id, line.charge, line.usd_nano) == ("", "usage", 1_500_000_000)


@pytest.mark.parametrize(
    ("changes", "charge"),
    [
        ({"ChargeCategory": "Purchase"}, "purchase"),
        ({"ChargeCategory": "Tax"}, "tax"),
        ({"ChargeCategory": "Credit"}, "credit"),
        ({"ChargeCategory": "Adjustment"}, "adjustment"),
        ({"ChargeCategory": "Something new"}, "adjustment"),
        ({"ChargeClass": "Correction"}, "adjustment"),
        ({"ServiceName": "AWS Support (Business)"}, "support"),
        ({"CommitmentDiscountStatus": "Unused"}, "purchase"),
    ],
)
def test_what_a_charge_is_for(tmp_path: Path, changes: Row, charge: str) -> None:
    found = lines_of(written(tmp_path, focus_row(**changes)))
    assert {line.charge for line in found} == {charge}


@pytest.mark.parametrize(
    ("names", "provider"),
    [
        ({"ServiceProviderName": "Microsoft", "HostProviderName": "x"}, "azure"),
        ({"ServiceProviderName": "Anthropic", "HostProviderName": "AWS"}, "anthropic"),
        ({"ServiceProviderName": "Google Cloud"}, "gcp"),
        ({"ServiceProviderName": "", "HostProviderName": "Amazon Web Services"}, "aws"),
    ],
)
def test_version_1_4_names_providers_otherwise(tmp_path: Path, names: Row, provider: str) -> None:
    row = {k: v for k, v in focus_row().items() if k not in ("ProviderName", "PublisherName")}
    found = lines_of(written(tmp_path, {**row, **names}))
    assert {line.labels.provider for line in found} == {provider}


def test_models_that_a_meter_names(tmp_path: Path) -> None:
    azure = focus_row(
        ProviderName="Microsoft", ServiceName="Azure OpenAI",
        x_SkuMeterName="gpt-4o 1120 Inp glbl Tokens", x_SkuDescription="",
    )  # fmt: skip
    google = focus_row(
        ProviderName="Google Cloud", ServiceName="Vertex AI", x_SkuMeterName="",
        x_SkuDescription="Gemini 2.5 Flash GA Text Input - Predictions",
    )  # fmt: skip
    found = lines_of(written(tmp_path, azure, google))
    assert {(line.labels.provider, line.labels.model) for line in found} == {
        ("azure", "gpt-4o"),
        ("google", "gemini-2.5-flash"),
    }


def test_a_month_is_spread_and_its_parts_equal_the_whole(tmp_path: Path) -> None:
    month = {
        "ChargePeriodStart": "2026-10-01T00:00:00Z",
        "ChargePeriodEnd": "2026-11-01T00:00:00Z",
        "ServiceName": "AWS Support (Business)",
        "ChargeFrequency": "Recurring",
    }
    path = written(tmp_path, focus_row(cost="-100", **month))
    found = [line for line in lines_of(path) if line.basis == "billed"]
    assert len(found) == 31
    assert total(found, "billed") == -100
    assert max(line.usd_nano for line in found) - min(line.usd_nano for line in found) <= 1
    once = written(tmp_path, focus_row(cost="100", **{**month, "ChargeFrequency": "One-Time"}))
    assert len({line.day for line in lines_of(once)}) == 1
    year = {**month, "ChargePeriodEnd": "2027-10-01T00:00:00Z"}
    assert len({line.day for line in lines_of(written(tmp_path, focus_row(**year)))}) == 1


def test_a_day_is_one_of_utc(tmp_path: Path) -> None:
    late = {
        "ChargePeriodStart": "2026-11-19T22:00:00-03:00",
        "ChargePeriodEnd": "2026-11-19T23:00:00-03:00",
    }
    across = {
        "ChargePeriodStart": "2026-11-19T20:00:00-03:00",
        "ChargePeriodEnd": "2026-11-20T00:00:00-03:00",
    }
    midnight = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp()) // DAY
    path = written(tmp_path, focus_row(**late))
    assert {line.day for line in lines_of(path)} == {midnight}
    path = written(tmp_path, focus_row(cost="4", **across))
    billed = {line.day: line.amount for line in lines_of(path) if line.basis == "billed"}
    assert billed == {midnight - 1: "1", midnight: "3"}


def parquet(path: Path, rows: list[Row], *, doubles: bool) -> Path:
    import pyarrow as pa
    from pyarrow import parquet as pq

    columns = {name: [row[name] for row in rows] for name in rows[0]}
    made = {}
    for name, values in columns.items():
        if name in COSTS.values():
            kind = pa.float64() if doubles else pa.decimal128(30, 12)
            made[name] = pa.array(
                [float(str(v)) if doubles else Decimal(str(v)) for v in values], kind
            )
        elif name.startswith("ChargePeriod"):
            zone = timezone(timedelta(0))
            made[name] = pa.array(
                [datetime.fromisoformat(str(v)).replace(tzinfo=zone) for v in values],
                pa.timestamp("ns", "Europe/Berlin"),
            )
        elif name == "Tags":
            made[name] = pa.array(
                [list(json.loads(str(v)).items()) for v in values],
                pa.map_(pa.string(), pa.string()),
            )
        else:
            made[name] = pa.array([None if v == "NULL" else v for v in values], pa.string())
    pq.write_table(pa.table(made), path, row_group_size=7)
    return path


@pytest.mark.parametrize("doubles", [True, False])
def test_parquet_says_the_same_as_csv(tmp_path: Path, doubles: bool) -> None:
    rows: list[Row] = [focus_row(cost=f"{n}.1", SubAccountId=f"{n % 4}") for n in range(40)]
    plain = lines_of(written(tmp_path, *rows), team_tag="team")
    typed = lines_of(parquet(tmp_path / "bill.parquet", rows, doubles=doubles), team_tag="team")
    assert set(map(repr, plain)) == set(map(repr, typed))


def test_compressed_files(tmp_path: Path) -> None:
    text = csv_text([focus_row()])
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("one.csv", text)
        archive.writestr("two.csv", text)
    assert total(lines_of(tmp_path / "a.csv.gz"), "billed") == Decimal("1.5")
    assert total(lines_of(tmp_path), "billed") == Decimal("4.5")


def test_other_currencies_are_kept_and_not_taken_for_usd(tmp_path: Path) -> None:
    path = written(tmp_path, focus_row(), focus_row(BillingCurrency="eur"))
    billed = {line.currency: line for line in lines_of(path) if line.basis == "billed"}
    assert (billed["EUR"].usd_nano, billed["EUR"].amount) == (None, "1.5")
    assert billed["USD"].line != billed["EUR"].line


BROKEN: dict[str, Row] = {
    "EffectiveCost": {"EffectiveCost": "1,5"},
    "BilledCost": {"BilledCost": "NULL"},
    "ChargePeriodStart": {"ChargePeriodStart": "yesterday"},
    "ChargePeriodEnd": {"ChargePeriodEnd": "2026-11-01 00:00:00"},
    "BillingCurrency": {"BillingCurrency": "US dollar"},
    "ChargeCategory": {"ChargeCategory": "NULL"},
    "ListCost": {"ListCost": "NaNo"},
    "ContractedCost": {"ContractedCost": "Infinity"},
}


def test_rows_that_cannot_be_read_are_told_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [focus_row(**changes) for changes in BROKEN.values()]
    path = written(tmp_path, focus_row(), *rows, focus_row(cost="2"))
    with path.open("ab") as out:
        out.write(b"too,few\r\n\r\n")
    assert main(["bills", "check", str(path), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["unreadable"]) == (11, 9)
    told = [(one["row"], one["column"]) for one in said["problems"]]
    assert told == [*zip(range(2, 10), BROKEN, strict=True), (11, "")]
    assert said["totals"][0]["billed"] == "3.5"
    assert main(["bills", "check", str(path)]) == 1
    assert "row 2, EffectiveCost: '1,5' is no amount" in capsys.readouterr().out
    assert total(lines_of(path), "billed") == Decimal("3.5")
    assert "9 of 11 rows" in caplog.text
    assert len(caplog.records) == 6  # bounded, whatever the number of rows
    with pytest.raises(SourceError, match="9 of 11 rows"):
        lines_of(path, strict="true")


def test_a_file_that_is_whole_ends_with_0(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, focus_row())
    assert main(["bills", "check", str(path)]) == 0
    assert "1 rows" in capsys.readouterr().out
    assert main(["bills", "check", str(tmp_path / "other.csv")]) == 1
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert main(["bills", "check", str(tmp_path / "other.csv")]) == 1
    assert "no FOCUS: it has no column BillingCurrency" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("a.csv", b"", "no column"),
        ("a.csv", b"a,b\n1,2\n", "no column BillingCurrency"),
        ("a.csv.gz", gzip.compress(csv_text([focus_row()] * 2000))[:-40], "cut off"),
        ("a.csv.gz", b"no gzip", "cut off"),
        ("a.zip", b"no zip", "cut off"),
        ("a.parquet", b"PAR1 nothing PAR1", "cut off"),
        ("a.csv", csv_text([focus_row(BilledCost="x")]), "none of its rows"),
    ],
)
def test_a_file_that_is_none_fails_the_poll(
    tmp_path: Path, name: str, body: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(body)
    with pytest.raises(SourceError, match=says) as caught:
        lines_of(tmp_path / name)
    assert caught.value.reason == "malformed"


def test_nothing_there_is_a_failure_and_takes_no_bill_back(tmp_path: Path) -> None:
    path = written(tmp_path, focus_row())
    bills = Lines()
    with running(folder_of(tmp_path), "focus", own(path), bills=bills) as rig:
        assert "failed" not in rig.poll()
        path.unlink()
        assert "the bill is left as it was" in rig.poll()
    assert total(bills, "billed") == Decimal("1.5")


def polled(rig: Rig, **ahead: int) -> str:
    rig.ledger.clock.advance(**ahead)
    said = rig.poll()
    assert "failed" not in said, said
    return said


def test_only_what_changed_is_read_and_told(tmp_path: Path) -> None:
    one = written(tmp_path, focus_row(), focus_row(day="2026-11-18"), name="one.csv")
    two = written(tmp_path, focus_row(cost="10"), name="two.csv")
    bills = Lines()
    folder = tmp_path / "*.csv"
    with running(folder_of(tmp_path), "focus", own(folder), bills=bills) as rig:
        assert polled(rig) == "8 new"
        assert total(bills, "billed") == 13  # the same line of two files is their sum
        assert polled(rig) == "nothing there"
        written(tmp_path, focus_row(cost="9"), name="two.csv")
        assert polled(rig) == "4 restated"
        assert total(bills, "billed") == 12
        two.unlink()
        assert polled(rig) == "4 restated"
        one.write_bytes(csv_text([focus_row()]))
        assert polled(rig) == "4 same, 4 gone"  # the days of what changed are told again
        assert total(bills, "billed") == Decimal("1.5")
        assert polled(rig, days=4) == "4 restated"  # it is final by now
        assert {line.maturity for line in bills.standing.values() if line.amount != "0"} == {
            "final"
        }
        assert polled(rig) == "nothing there"


def test_a_restart_reads_again_and_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, *(focus_row(day=f"2026-11-{n:02d}") for n in range(1, 20)))
    bills = Lines()
    with running(folder_of(tmp_path), "focus", own(path), bills=bills) as rig:
        assert polled(rig) == "76 new"
    before = dict(bills.standing)
    with running(folder_of(tmp_path), "focus", own(path), bills=bills) as rig:
        assert polled(rig) == "76 same"
    assert bills.standing == before


def test_a_poll_that_the_ledger_refused_is_told_again(tmp_path: Path) -> None:
    path = written(tmp_path, focus_row(), focus_row(day="2026-11-21"))
    bills = Lines()
    with running(folder_of(tmp_path), "focus", own(path), bills=bills) as rig:
        bills.error = ValueError("no")
        assert "failed" in rig.poll()
        bills.error = None
        assert polled(rig) == "8 new"
        assert total(bills, "billed") == 3


def test_days_to_come_wait_until_they_are_there(tmp_path: Path) -> None:
    month = {
        "ChargePeriodStart": "2026-11-01 00:00:00",
        "ChargePeriodEnd": "2026-12-01 00:00:00",
        "ChargeFrequency": "Recurring",
    }
    path = written(tmp_path, focus_row(cost="300", **month))
    bills = Lines()
    with running(folder_of(tmp_path), "focus", own(path), bills=bills) as rig:
        polled(rig)
        assert total(bills, "billed") == 220
        for _ in range(10):
            polled(rig, days=1)
        assert total(bills, "billed") == 300


def test_options_are_checked() -> None:
    for options, says in (
        ({"path": ""}, "option path is missing"),
        ({"path": "s3://UPPER"}, "is none; write one"),
        ({"path": "x.csv", "strict": "yes"}, "neither true nor false"),
        ({"path": "x.csv", "colour": "red"}, "no option 'colour'"),
    ):
        with pytest.raises(ValueError, match=says):
            make("focus", Settings("bill", Secret(), options=options))


@pytest.mark.real_data
def test_every_row_of_a_real_file_is_accounted_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not SAMPLE.exists():
        pytest.skip(f"{SAMPLE} is not there; set COSTMETER_DATA")
    now = int(datetime(2024, 10, 5, tzinfo=UTC).timestamp())
    bills = Lines()
    clock = FakeClock(now * 1000)
    with running(
        tmp_path, "focus", own(SAMPLE, team_tag="application"), bills=bills, clock=clock
    ) as rig:
        assert "failed" not in rig.poll()
    for basis, column in COSTS.items():
        assert total(bills, basis) == recomputed(SAMPLE, column)
    assert main(["bills", "check", str(SAMPLE), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["unreadable"]) == (300, 0)
