"""What docs/pricing.md shows is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from costmeter.pricing import PriceFileError
from costmeter.pricing.overrides import embedded_gpu_prices, read_price_file

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "pricing.md").read_text(encoding="utf-8")


def test_the_example_file_is_accepted() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    first, second = (read_price_file("prices.yml", text, str.lower) for text in examples)
    assert (len(first.llm), len(first.gpu), len(first.models)) == (4, 3, 2)
    assert (len(second.llm), len(second.gpu)) == (0, 2)
    own = first.gpu[2].figures
    assert [round(float(str(own[name])) / 10**15, 4) for name in ("gpu_ms", "gpu_energy_mj")] == [
        0.8918,
        0.168,
    ]


def test_the_table_of_gpus_is_the_list() -> None:
    rows = re.findall(r"^\| (aws|gcp|azure|nebius) \| (.*) \|$", PAGE, re.MULTILINE)
    shown = set()
    for cloud, rest in rows:
        region, machine, card, price, day = (cell.strip() for cell in rest.split("|"))
        machine, _, spot = machine.partition(" ")
        shown.add((cloud, region, machine.lower(), card.lower(), price.split()[0], spot, day))
    listed = set()
    for line in embedded_gpu_prices():
        nano = line.figures["gpu_ms"]
        assert isinstance(nano, int)
        whole, part = divmod(nano, 10**15)
        usd = f"{whole}.{part:015d}".rstrip("0").rstrip(".")
        spot = "(spot)" if line.purchase == "spot" else ""
        region, machine = (
            "every" if text == "*" else text for text in (line.region, line.instance_type)
        )
        day = line.source.rpartition(" ")[2]
        listed.add((line.provider, region, machine, line.model, usd, spot, day))
    assert shown == listed


def test_the_error_on_the_page_is_the_error_of_the_program() -> None:
    (shown,) = re.findall(r"^prices\.yml:7: .*$", PAGE, re.MULTILINE)
    text = (
        "prices:\n  - provider: openai\n    model: gpt-4o\n    source: s\n    from: 2026-01-01\n"
        "    usd_per_million:\n      imput: 2\n"
    )
    with pytest.raises(PriceFileError) as caught:
        read_price_file("prices.yml", text, str.lower)
    assert str(caught.value) == shown
