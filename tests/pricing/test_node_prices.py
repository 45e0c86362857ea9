"""The price on the node is the server's, line by line, and asks for little."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from costmeter.model import GPU_ENERGY, MS_PER_HOUR, PIECES_PER_PRICED_UNIT
from costmeter.pricing import PriceBook, PriceFileError, load_price_book
from costmeter.pricing.node_prices import NodePrice, NodePrices
from costmeter.pricing.overrides import embedded_gpu_prices, read_price_file
from costmeter.segment import Placement, Purchase
from pricing.oracle import labels

NOW = int(datetime(2026, 11, 22, 10, tzinfo=UTC).timestamp()) * 1000
OWN = """
prices:
  - {provider: openai, model: gpt-4o, source: s, usd_per_million: {input: 2}}
  - provider: onprem
    model: H100
    source: invoice
    gpus: 8
    own: {capex_usd: 250000, months: 48, usd_per_kwh: 0.12, pue: 1.4}
  - {provider: onprem, model: A100-80GB, region: berlin, source: s, usd_per_hour: {gpu: 1.1}}
  - {provider: onprem, model: A100-80GB, source: s, from: 2026-06-01, usd_per_hour: {gpu: 1.3}}
  - {provider: aws, model: "*", account: "42", purchase: any, source: s, discount_percent: 12.5}
  - {provider: gcp, model: L4, purchase: spot, source: s, discount_percent: 60, of: on_demand}
  - {provider: onprem, model: T4, source: written off, free: true}
  - {provider: aws, model: L4, purchase: reserved, source: s, usd_per_hour: {gpu: 0.6}}
"""


def test_every_line_is_priced_as_by_the_server(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    path.write_text(OWN)
    book, node = load_price_book([path]), NodePrices.load([path])
    lines = [*embedded_gpu_prices(), *read_price_file("own.yml", OWN, str.lower).gpu]
    places = {(one.provider, one.region, one.instance_type) for one in lines}
    places |= {(provider, region, "*") for provider, region, _ in places}
    models = {one.model for one in lines} | {"NVIDIA H100 80GB HBM3", "unknown"}
    answers = set()
    for provider, region, machine in sorted(places):
        for model in sorted(models - {"*"}):
            for purchase in get_args(Purchase):
                for at_ms in (NOW - 400 * 24 * MS_PER_HOUR, NOW):
                    for account in ("", "42"):
                        placement = Placement(
                            provider, account, region.strip("*"), machine.strip("*"), purchase
                        )
                        told = node.of(placement, model, at_ms)
                        assert told == by_book(book, placement, model, at_ms)
                        answers.add(told)
    assert len(answers) > 25
    assert None in answers
    assert any(one is not None and one.nano_per_kwh == 168_000_000 for one in answers)


def by_book(book: PriceBook, placement: Placement, model: str, at_ms: int) -> NodePrice | None:
    asked = labels(
        placement.provider, model, category="gpu_compute", account=placement.account,
        region=placement.region, service=placement.instance_type, operation=placement.purchase,
    )  # fmt: skip
    rate = book.rate(asked, at_ms, "standard", {})
    if rate is None:
        return None
    kwh = None
    if GPU_ENERGY in rate.prices:
        kwh = rate.cost({GPU_ENERGY: PIECES_PER_PRICED_UNIT[GPU_ENERGY]})
    hour = rate.cost({"gpu_ms": MS_PER_HOUR})
    assert hour is not None
    return NodePrice(hour, kwh, rate.source)


def test_a_price_ends_when_another_begins(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    path.write_text(OWN)
    node = NodePrices.load([path])
    begins = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp()) * 1000
    found = [node.of(Placement(), "A100-80GB", at) for at in (begins - 1, begins, begins - 1)]
    assert [one and one.nano_per_gpu_hour for one in found] == [None, 1_300_000_000, None]


def test_a_file_that_is_wrong_or_missing(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    with pytest.raises(PriceFileError, match="cannot be read"):
        NodePrices.load([path])
    path.write_text("prices:\n  - {provider: x}\n")
    with pytest.raises(PriceFileError, match=r"own\.yml:2"):
        NodePrices.load([path])


def test_nothing_heavy_is_imported() -> None:
    """An agent has 35 MiB for everything: no catalogue, no msgspec, no OpenSSL."""
    code = (
        "import sys\n"
        "from costmeter.pricing.node_prices import NodePrices\n"
        "NodePrices.load([])\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "costmeter.pricing.cards" in loaded
    heavy = {"msgspec", "costmeter.pricing.book", "costmeter.pricing.catalogue", "_hashlib"}
    heavy |= {"sqlite3", "difflib", "zoneinfo", "importlib.resources", "costmeter.config"}
    assert not loaded & heavy
