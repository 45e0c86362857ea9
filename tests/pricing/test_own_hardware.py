"""Hardware of one's own, energy, and the states of a GPU's time under one price."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.ledger.recount_hours import parts_of_piece
from costmeter.model import GPU_ENERGY, GPU_TIME_CLASSES, MS_PER_HOUR
from costmeter.pricing import PriceBook, PriceFileError, Rate, load_price_book
from costmeter.pricing.gpu_hours import gpu_hour, gpu_parts
from costmeter.pricing.overrides import read_price_file
from costmeter.pricing.rates import fingerprint
from pricing.oracle import labels

KWH = 3_600_000_000
HEAD = "provider: onprem, model: H100, source: invoice 7"


def book(folder: Path, *lines: str) -> PriceBook:
    path = folder / "prices.yml"
    path.write_text("prices:\n" + "".join(f"  - {{{HEAD}, {line}}}\n" for line in lines))
    return load_price_book([path])


def rate_of(folder: Path, *lines: str, purchase: str = "") -> Rate:
    asked = labels("onprem", "H100", category="gpu_compute", operation=purchase)
    rate = book(folder, *lines).rate(asked, 0, "standard", {})
    assert rate is not None
    return rate


def nano(usd: Fraction) -> int:
    return round(usd * 10**9)


@pytest.mark.parametrize(
    ("own", "hour", "kwh"),
    [
        ("own: {capex_usd: 26280}", Fraction(26_280, 36 * 730), None),
        ("own: {capex_usd: 26280, months: 48}", Fraction(26_280, 48 * 730), None),
        (
            "gpus: 8, own: {capex_usd: 250000, residual_usd: 10000, usd_per_month: 900.50}",
            (Fraction(240_000, 36) + Fraction("900.5")) / 730 / 8,
            None,
        ),
        ("own: {usd_per_month: 400}", Fraction(400, 730), None),
        (
            "own: {capex_usd: 26280, usd_per_kwh: 0.12, pue: 1.35}",
            Fraction(1),
            Fraction("0.162"),
        ),
        ("usd_per_hour: {gpu: 1.10}, own: {usd_per_kwh: 0.3}", Fraction("1.1"), Fraction("0.3")),
        ("usd_per_hour: {gpu: 0}, own: {usd_per_kwh: 0.3}", Fraction(0), Fraction("0.3")),
        (
            "gpus: 8, usd_per_hour: {machine: 24}, own: {usd_per_kwh: 0.3}",
            Fraction(3),
            Fraction("0.3"),
        ),
    ],
)
def test_what_hardware_of_ones_own_costs(
    tmp_path: Path, own: str, hour: Fraction, kwh: Fraction | None
) -> None:
    rate = rate_of(tmp_path, own)
    for name in GPU_TIME_CLASSES:
        assert rate.cost({name: MS_PER_HOUR}) == nano(hour)
    assert gpu_hour(rate, MS_PER_HOUR, 0) == nano(hour)
    assert rate.cost({GPU_ENERGY: KWH}) == nano(kwh or Fraction(0))
    assert gpu_hour(rate, MS_PER_HOUR, KWH) == nano(hour) + nano(kwh or Fraction(0))
    assert "invoice 7" in rate.source


@pytest.mark.parametrize(
    ("own", "key", "hint"),
    [
        ("own: {usd_per_kwh: 0.3}", "own", "write capex_usd, usd_per_month, or usd_per_hour"),
        ("own: {months: 36, usd_per_month: 5}", "own.months", "belongs to capex_usd"),
        ("own: {capex_usd: 5, months: 0}", "own.months", "months: 36"),
        ("own: {capex_usd: 5, residual_usd: 6}", "own.residual_usd", "more than capex_usd"),
        ("own: {capex_usd: 5, pue: 1.2}", "own.pue", "belongs to usd_per_kwh"),
        ("own: {capex_usd: 5, usd_per_kwh: 1, pue: 0.9}", "own.pue", "1 or more"),
        ("own: {capex_usd: five}", "own.capex_usd", "write a decimal"),
        ("own: {capex: 5}", "own.capex", "write capex_usd instead"),
        ("gpus: 0, own: {capex_usd: 5}", "gpus", "how many GPUs"),
        ("free: true, own: {capex_usd: 5}", "free", "stands beside a price"),
        (
            "usd_per_hour: {gpu: 1}, own: {capex_usd: 5}",
            "own.capex_usd",
            "beside usd_per_hour.gpu",
        ),
    ],
)
def test_mistakes_name_file_line_and_key(own: str, key: str, hint: str) -> None:
    with pytest.raises(PriceFileError) as found:
        read_price_file("p.yml", f"prices:\n  - {{{HEAD}, {own}}}\n", str.lower)
    assert (found.value.line, found.value.key) == (2, f"prices[0].{key}")
    assert hint in str(found.value)


def test_a_rate_without_energy_is_the_one_of_before(tmp_path: Path) -> None:
    """States and energy are in no figure of it, so that its identity stays what it was."""
    rate = rate_of(tmp_path, "usd_per_hour: {gpu: 1.1}")
    assert dict(rate.prices) == {"gpu_ms": 1_100_000_000_000_000}
    assert rate.rate_id.endswith("#" + fingerprint({"gpu_ms": 1_100_000_000_000_000}, {}))
    assert rate.costs({"gpu_idle_ms": MS_PER_HOUR, GPU_ENERGY: KWH}) == {
        "gpu_idle_ms": 1_100_000_000
    }
    free = rate_of(tmp_path, "free: true")
    assert not set(free.prices) & {*GPU_TIME_CLASSES[1:], GPU_ENERGY}
    assert free.costs({"gpu_unobserved_ms": 5, "requests": 0}) == {
        "gpu_unobserved_ms": 0,
        "requests": 0,
    }


def test_tokens_have_no_price_of_a_gpu(tmp_path: Path) -> None:
    rate = Rate("r", "test", {"input": 5})
    assert rate.costs({"gpu_idle_ms": 1}) is None
    assert rate.costs({GPU_ENERGY: 1}) is None
    assert gpu_hour(rate, 1, 0) is None


@given(
    st.fixed_dictionaries(
        {}, optional={name: st.integers(0, MS_PER_HOUR) for name in GPU_TIME_CLASSES}
    ),
    st.integers(0, KWH),
    st.integers(0, 10**16),
    st.none() | st.integers(0, 10**16),
    st.integers(-3, 3),
)
def test_the_parts_of_a_piece_are_the_piece(
    times: dict[str, int], energy: int, hour: int, kwh: int | None, off: int
) -> None:
    quantities = {**times, GPU_ENERGY: energy}
    prices = {"gpu_ms": hour} if kwh is None else {"gpu_ms": hour, GPU_ENERGY: kwh}
    rate = Rate("r", "test", prices)
    nano = (gpu_hour(rate, sum(times.values()), energy) or 0) + off
    parts = gpu_parts(rate, quantities, nano)
    assert sum(parts.values()) == nano
    assert parts == parts_of_piece(prices, quantities, nano)
    exact = rate.costs(quantities) or {}
    if any(exact.values()):
        assert all(abs(part - exact.get(name, 0)) <= abs(off) + 4 for name, part in parts.items())
