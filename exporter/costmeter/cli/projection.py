"""`costmeter estimate month` and `estimate infra`: a month to come, a plan of machines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal

from costmeter.analysis import estimate as estimates
from costmeter.analysis.estimate import InfraPart, Projection
from costmeter.cli.amounts import amount, count, nano, quantities_of
from costmeter.cli.errors import CommandError
from costmeter.cli.estimate import book_of, moment
from costmeter.cli.settings import config_of, usd, wall_ms
from costmeter.cli.table import Value, exact, show
from costmeter.ledger.history import spend
from costmeter.ledger.store import open_for_reading
from costmeter.model import MS_PER_DAY
from costmeter.pricing import PriceBook

_SAMPLE_DAYS = 7


def month(arguments: argparse.Namespace) -> int:
    """From calls a day, or from the last seven whole days of the ledger."""
    days = count(arguments.days, "--days", 1)
    if arguments.calls is None:
        found, sample = _from_ledger(arguments, days)
        how = f"{estimates.INTERVAL}, n = {len(sample)} days, {arguments.confidence} %"
    else:
        found, how = _from_calls(arguments, days), "calls a day x cost of a call x days"
    if arguments.json:
        figures = {
            "days": found.days,
            "daily_usd": exact(usd(found.daily_mean)),
            "total_usd": exact(usd(found.total)),
            "low_usd": None if found.low is None else exact(usd(found.low)),
            "high_usd": None if found.high is None else exact(usd(found.high)),
            "confidence_percent": None if found.low is None else arguments.confidence,
            "formula": how,
        }
        print(json.dumps(figures, indent=2))
        return 0
    columns = ["days", "daily_usd", "total_usd"]
    row: list[Value] = [found.days, usd(found.daily_mean), usd(found.total)]
    if found.low is not None and found.high is not None:
        columns += ["low_usd", "high_usd"]
        row += [usd(found.low), usd(found.high)]
    show(columns, [row], as_json=False)
    print(how)
    return 0


def _from_calls(arguments: argparse.Namespace, days: int) -> Projection:
    if not arguments.provider or not arguments.model:
        raise CommandError("--calls needs to know the model; write month PROVIDER MODEL --calls N")
    labels = estimates.usage_labels(arguments.provider, arguments.model)
    quantities = quantities_of(arguments.tokens, arguments.units)
    found = estimates.estimate_call(
        book_of(arguments), labels, moment(arguments), quantities, arguments.processing
    )
    if found.total is None:
        raise CommandError(
            f"{arguments.provider}/{arguments.model} has no price for this: it is unpriced, not "
            "free; add a line to a file of prices.files"
        )
    calls = count(arguments.calls, "--calls", 1)
    return estimates.project_requests(found.total, calls, days)


def _from_ledger(arguments: argparse.Namespace, days: int) -> tuple[Projection, list[int]]:
    """Whole UTC days up to yesterday; a day before the first usage is no day of the sample."""
    if arguments.provider:
        raise CommandError("a model alone says nothing of its use; add --calls N")
    today = wall_ms() // MS_PER_DAY
    where = [_condition(text) for text in arguments.where]
    with closing(open_for_reading(config_of(arguments).ledger.path)) as store:
        sums = {
            group[0]: up - down
            for group, _, up, down in spend(
                store.connection,
                ["day"],
                since_ms=(today - _SAMPLE_DAYS) * MS_PER_DAY,
                until_ms=today * MS_PER_DAY,
                where=where,
            )
        }
        (first,) = store.connection.execute("SELECT min(hour) FROM cell").fetchone()
    begins = today if first is None else max(today - _SAMPLE_DAYS, -(-first // MS_PER_DAY))
    sample = [sums.get(_date(day), 0) for day in range(begins, today)]
    if len(sample) < 2:
        raise CommandError(
            f"the ledger holds {len(sample)} whole days of usage and a projection needs 2 to 7; "
            "wait, or write --calls N with a model"
        )
    return estimates.project_days(sample, days, arguments.confidence), sample


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--where {text!r} is no condition; write --where team=search")
    return ("tenant_id" if name == "tenant" else name), value


def _date(day: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(day * MS_PER_DAY / 1000, UTC).date().isoformat()


def infra(arguments: argparse.Namespace) -> int:
    """A plan of machines, part by part; 1 when a part has no price and so no total."""
    at_ms, book = moment(arguments), book_of(arguments)
    gpus = count(arguments.gpus, "--gpus", 1)
    hours = amount(arguments.hours, "--hours")
    spot = amount(arguments.spot_percent, "--spot-percent") / 100
    if spot > 1:
        raise CommandError("--spot-percent is more than 100; write the share of spot hours")
    whole = gpus * hours
    parts = []
    if spot < 1:
        parts.append(_gpu_part(book, arguments, at_ms, "on_demand", whole * (1 - spot)))
    if spot:
        parts.append(_gpu_part(book, arguments, at_ms, "spot", whole * spot))
    for name, text, price, unit in (
        ("storage", arguments.storage_gb, arguments.storage_usd, "GB-month"),
        ("egress", arguments.egress_gb, arguments.egress_usd, "GB"),
    ):
        if amount(text, f"--{name}-gb"):
            unit_nano = None if price is None else nano(price, f"--{name}-usd")
            source = "" if price is None else f"--{name}-usd"
            parts.append(
                estimates.priced_part(name, amount(text, f"--{name}-gb"), unit, unit_nano, source)
            )
    return _show_parts(parts, as_json=arguments.json)


def _gpu_part(
    book: PriceBook, arguments: argparse.Namespace, at_ms: int, purchase: str, hours: Decimal
) -> InfraPart:
    flag = f"--{purchase.replace('_', '-')}-usd"
    given = getattr(arguments, f"{purchase}_usd")
    name = f"{arguments.gpu} {purchase}"
    if given is not None:
        return estimates.priced_part(name, hours, "GPU-hour", nano(given, flag), flag)
    labels = estimates.usage_labels(
        arguments.provider, arguments.gpu, region=arguments.region
    )._replace(category="gpu_compute", service=arguments.instance_type, operation=purchase)
    rate = book.rate(labels, at_ms, "standard", {"gpu_ms": 1})
    hour = None if rate is None else rate.cost({"gpu_ms": 3_600_000})
    return estimates.priced_part(name, hours, "GPU-hour", hour, "" if rate is None else rate.source)


def _show_parts(parts: Sequence[InfraPart], *, as_json: bool) -> int:
    missing = [part for part in parts if part.nano is None]
    total = None if missing else sum(part.nano or 0 for part in parts)
    rows: list[Sequence[Value]] = [
        (
            part.name,
            part.amount,
            part.unit,
            None if part.unit_nano is None else usd(part.unit_nano),
            None if part.nano is None else usd(part.nano),
            part.source or None,
        )
        for part in parts
    ]
    rows.append(("total", None, None, None, None if total is None else usd(total), None))
    show(("part", "amount", "unit", "unit_usd", "cost_usd", "source"), rows, as_json=as_json)
    for part in missing:
        kind = part.name.rpartition(" ")[2].replace("_", "-")
        print(
            f"{part.name} is unpriced: no price of it for this place is known; "
            f"write --{kind}-usd with its price per {part.unit}",
            file=sys.stderr,
        )
    return int(bool(missing))
