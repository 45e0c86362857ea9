"""`costmeter import` on a ledger of its own, and what it says."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from costmeter.cli import main
from costmeter.ledger.snapshot import SnapshotReader
from costmeter.ledger.store import open_for_reading
from costmeter.model import Labels
from costmeter.pricing import PriceBook
from normalise.conformance import DATA, ROOT

LEDGER = DATA / "llm" / "aider_ledger_2024-08_2025-02.csv"
PAGE = ROOT / "docs" / "price-checks.md"

#: As the page has it.
COLUMNS = "timestamp=time,model=model,input=prompt_tokens,output=completion_tokens,user_id=user"
#: The prefixes of the file whose provider has another name in the price catalogue.
_RENAMED = {"gemini": "google", "fireworks_ai": "fireworks", "bedrock": "aws"}
_MAKERS = {"claude": "anthropic", "gemini": "google"}


class Call(NamedTuple):
    at_ms: int
    sent: int
    received: int
    usd: Decimal


def calls(path: Path) -> Mapping[str, Sequence[Call]]:
    """The calls of a ledger by the model's name in the file."""
    found: dict[str, list[Call]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            sent, received = int(row["prompt_tokens"]), int(row["completion_tokens"])
            at_ms = int(row["time"]) * 1_000
            found[row["model"]].append(Call(at_ms, sent, received, Decimal(row["cost_usd"])))
    return found


def name_of(model: str) -> tuple[str, str]:
    """Provider and model under which the import books a name of the file."""
    if model == "None":
        return "unknown", "unknown"
    maker, slash, name = model.partition("/")
    if slash:
        return _RENAMED.get(maker, maker), name
    return _MAKERS.get(model.partition("-")[0], "openai"), model


def cost(book: PriceBook, model: str, call: Call) -> int | None:
    """Nano-USD of one call of the file, None without a price."""
    provider, name = name_of(model)
    labels = Labels._make([""] * len(Labels._fields))._replace(
        tenant_id="default", category="llm_api", provider=provider, model=name
    )
    used = {"input": call.sent, "output": call.received}
    rate = book.rate(labels, call.at_ms, "standard", used)
    return None if rate is None else rate.cost(used)


def bring_in(
    capsys: pytest.CaptureFixture[str], file: Path, *more: str
) -> tuple[list[dict[str, Any]], str]:
    """The printed rows and what went to stderr."""
    capsys.readouterr()
    options = ["--columns", COLUMNS, "--compare", "cost_usd", "--json", *more]
    assert main(["import", str(file), *options]) == 0
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def differing(rows: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Models that are not priced whole, or not within 1 % of what the file says."""
    found = set()
    for row in rows:
        share = row["difference_percent"]
        theirs = Decimal(row["file_cost_usd"])
        off = theirs != Decimal(row["cost_usd"] or 0) if share is None else abs(Decimal(share)) > 1
        if row["unpriced"] or off:
            found.add((row["provider"], row["model"]))
    return found


def series(path: Path, family: str) -> dict[tuple[str, ...], int]:
    """A metric family of a ledger as it would be exported."""
    store = open_for_reading(path)
    try:
        return dict(SnapshotReader(store.connection).refresh().samples(family))
    finally:
        store.close()


def price_file() -> str:
    """The example on the page."""
    found = re.findall(r"```yaml\n(prices:.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).date().isoformat()
