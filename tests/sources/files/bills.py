"""Bills in files, made for tests, and what they sum up to by themselves."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from pathlib import Path

from costmeter.model import BillLine
from costmeter.sources.contract import Settings
from costmeter.sources.secret import Secret
from sources.rig import Lines

DATA = Path(
    os.environ.get("COSTMETER_DATA", Path(__file__).resolve().parents[4] / "shared" / "data")
)
COSTS = {
    "effective": "EffectiveCost",
    "billed": "BilledCost",
    "list": "ListCost",
    "contracted": "ContractedCost",
}
Row = Mapping[str, object]


def focus_row(day: str = "2026-11-20", cost: str = "1.5", **changes: object) -> dict[str, object]:
    """An hour of FOCUS 1.0; every cost differs."""
    row: dict[str, object] = {
        "BilledCost": cost,
        "BillingAccountId": "999",
        "BillingCurrency": "USD",
        "ChargeCategory": "Usage",
        "ChargeClass": "NULL",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": f"{day} 10:00:00",
        "ChargePeriodEnd": f"{day} 11:00:00",
        "ContractedCost": f"{Decimal(cost) * 3}",
        "EffectiveCost": f"{Decimal(cost) / 2}",
        "ListCost": f"{Decimal(cost) * 4}",
        "ProviderName": "AWS",
        "PublisherName": "Amazon Web Services, Inc.",
        "RegionId": "us-east-1",
        "ServiceCategory": "Compute",
        "ServiceName": "Amazon Elastic Compute Cloud",
        "SubAccountId": "111",
        "Tags": '{"team": "search", "env": "prod"}',
    }
    return {**row, **changes}


def csv_text(rows: Sequence[Row]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def own(path: object, **options: str) -> Settings:
    return Settings("bill", Secret(), options={"path": str(path), **options})


def total(lines: Lines | Sequence[BillLine], basis: str = "effective") -> Decimal:
    """What stands on a basis."""
    found = lines.standing.values() if isinstance(lines, Lines) else lines
    with localcontext() as context:
        context.prec = 100
        return sum((Decimal(line.amount) for line in found if line.basis == basis), Decimal(0))


def recomputed(path: Path, column: str) -> Decimal:
    """Straight from the file, with nothing of costmeter in between."""
    with path.open(newline="") as stream, localcontext() as context:
        context.prec = 100
        return sum((Decimal(row[column] or "0") for row in csv.DictReader(stream)), Decimal(0))
