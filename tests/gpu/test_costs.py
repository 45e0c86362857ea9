"""The estimate on the machine's own page: prices, owners that come and go, too many of them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import pytest

from costmeter.gpu.claims import Claim
from costmeter.gpu.costs import Costs, Energy
from costmeter.gpu.figures import OTHER, Figures, OwnerFigures
from costmeter.gpu.meter import GpuMeter
from costmeter.gpu.readings import GpuReading, Round
from costmeter.segment import Owner, Placement
from fakes.clock import FakeClock

FIRST = GpuReading(0, "GPU-0", "H100", 0, 0, continuous=False, busy_ms=0, energy_mj=0)


class Price(NamedTuple):
    nano_per_gpu_hour: int
    nano_per_kwh: int | None


class Prices:
    """What a test says; counts how often it is asked."""

    def __init__(self, hour: int | None, kwh: int | None = None) -> None:
        self.price = None if hour is None else Price(hour, kwh)
        self.asked: list[tuple[Placement, str, int]] = []

    def of(self, placement: Placement, gpu_model: str, at_ms: int) -> Price | None:
        self.asked.append((placement, gpu_model, at_ms))
        return self.price


class Rig:
    """A GPU that is half busy and draws 100 W."""

    def __init__(self, costs: Costs, *claims: Claim) -> None:
        self.clock = FakeClock()
        self.claims: tuple[Claim, ...] | None = claims
        self.meter = GpuMeter(self.clock, Placement(), claims=self, costs=costs, run_id="r")
        self._seconds = -1

    def of(self, reading: GpuReading) -> tuple[Claim, ...] | None:
        return self.claims

    def run(self, seconds: int) -> Figures:
        for _ in range(seconds):
            self._seconds += 1
            self.clock.advance(1)
            reading = replace(
                FIRST,
                taken_at_ms=self.clock.now_ms(),
                monotonic_ms=self.clock.monotonic_ms(),
                continuous=self._seconds > 0,
                busy_ms=500 * self._seconds,
                energy_mj=100_000 * self._seconds,
            )
            self.meter.observe(Round((reading,)))
        return self.meter.figures()


def owner(figures: Figures, pod: str) -> OwnerFigures:
    (found,) = [one for one in figures.owners if one.labels[5] == pod]
    return found


def test_without_a_price_there_is_no_cost_and_its_seconds_are_counted() -> None:
    figures = Rig(Costs(Prices(None)), Claim(Owner("a", pod="a"))).run(11)
    assert figures.gpus["GPU-0"].unpriced_ms == 10_000
    assert figures.gpus["GPU-0"].cost_nano is None
    found = owner(figures, "a")
    assert (found.used_ms, found.idle_ms, found.energy_mj) == (5_000, 5_000, 1_000_000)
    assert (found.used_nano, found.idle_nano, found.energy_nano) == (None, None, None)


def test_a_price_that_appears_counts_from_then_on() -> None:
    prices = Prices(None)
    rig = Rig(Costs(prices), Claim(Owner("a", pod="a")))
    rig.run(61)
    prices.price = Price(3_600_000_000, None)
    figures = rig.run(60)
    assert figures.gpus["GPU-0"].unpriced_ms == 60_000
    assert owner(figures, "a").used_nano == 30_000_000
    # Asked again once a minute, not once a second.
    assert len(prices.asked) == 2


def test_other_prices_hold_at_once() -> None:
    rig = Rig(Costs(Prices(3_600_000_000)), Claim(Owner("a", pod="a")))
    rig.run(11)
    rig.meter.price_by(Prices(7_200_000_000), Energy())
    assert owner(rig.run(10), "a").used_nano == 5_000_000 + 10_000_000


def test_energy_that_the_price_tells_apart_is_part_of_the_cost() -> None:
    rig = Rig(Costs(Prices(3_600_000_000, 360_000_000)), Claim(Owner("a", pod="a")))
    found = owner(rig.run(11), "a")
    # 1 kJ at 0.36 USD a kWh is 0.0001 USD, half of it in used time.
    assert (found.used_nano, found.idle_nano) == (5_050_000, 5_050_000)
    assert found.energy_nano == 100_000
    assert rig.meter.figures().gpus["GPU-0"].cost_nano == 10_100_000


def test_a_tariff_of_ones_own_says_what_energy_costs_and_is_no_part_of_the_price() -> None:
    energy = Energy(360_000_000, Decimal("1.5"), lambda: Decimal(360))
    rig = Rig(Costs(Prices(3_600_000_000), energy), Claim(Owner("a", pod="a")))
    found = owner(rig.run(11), "a")
    assert (found.used_nano, found.idle_nano, found.energy_nano) == (5_000_000, 5_000_000, 150_000)
    assert found.co2_micrograms == 150_000


def test_an_owner_who_left_is_shown_a_while_and_then_goes() -> None:
    rig = Rig(Costs(Prices(3_600_000_000), linger_ms=120_000), Claim(Owner("a", pod="a")))
    rig.run(31)
    rig.claims = (Claim(Owner("b", pod="b")),)
    figures = rig.run(100)
    assert owner(figures, "a").used_ms == 15_000
    assert [labels[3] for labels in figures.owners_now] == ["b"]
    assert [one.labels[5] for one in rig.run(120).owners] == ["b"]
    # What the GPU cost is not less for it.
    assert rig.meter.figures().gpus["GPU-0"].cost_nano == 250_000_000


def test_the_owner_of_a_gpu_that_was_lost_goes_too_and_begins_anew() -> None:
    rig = Rig(Costs(Prices(3_600_000_000), linger_ms=120_000), Claim(Owner("a", pod="a")))
    rig.run(31)
    for _ in range(3):
        rig.clock.advance(60)
        rig.meter.observe(Round((), ("GPU-0",)))
    assert rig.meter.figures().owners == ()
    assert owner(rig.run(10), "a").used_ms == 4_500
    assert rig.meter.figures().gpus["GPU-0"].cost_nano == 30_000_000 + 181_000_000 + 9_000_000


def test_owners_beyond_the_bound_are_counted_together() -> None:
    rig = Rig(Costs(Prices(3_600_000_000), most_series=2))
    for number in range(5):
        rig.claims = (Claim(Owner("t", pod=f"p{number}")),)
        rig.run(10)
    rig.claims = ()
    figures = rig.run(10)
    assert [one.labels[5] for one in figures.owners] == ["p0", "p1", OTHER, ""]
    assert owner(figures, OTHER).used_ms == 15_000
    # What nobody holds always has room, and is not counted among them.
    assert owner(figures, "").unallocated_nano == 10_000_000


def test_a_workload_without_a_container_is_named_in_its_place() -> None:
    figures = Rig(Costs(), Claim(Owner("a", workload="docker:web"))).run(3)
    assert figures.owners[0].labels[6] == "docker:web"


@pytest.mark.parametrize("pieces", [1, 7, 3_600])
def test_pieces_cost_what_the_whole_costs(pieces: int) -> None:
    claims = [Claim(Owner(name, pod=name)) for name in ("a", "b", "c")]
    costs = Costs(Prices(3_333_333_333, 123_456_789))
    rig = Rig(costs, *claims)
    figures = rig.run(1 + pieces)
    shown = sum((one.used_nano or 0) + (one.idle_nano or 0) for one in figures.owners)
    exact = (pieces * 3_333_333_333_000 * 1_000 + pieces * 100_000 * 123_456_789) // 3_600_000_000
    assert figures.gpus["GPU-0"].cost_nano == exact
    assert 0 <= exact - shown <= 6
