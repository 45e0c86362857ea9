"""Tokens against what their GPUs cost, to the nano."""

from __future__ import annotations

import random
from collections.abc import Collection
from fractions import Fraction

import pytest

from costmeter.gpu.figures import OwnerFigures
from costmeter.gpu.serving.economics import Economics, Match, Part, Served, served
from costmeter.gpu.serving.engines import Counts, Page

SECOND = 1_000


def owner(
    pod: str, used_nano: int | None, idle_nano: int | None, *, seconds: float, **more: object
) -> OwnerFigures:
    """Draws 400 W."""
    labels = ("0", "GPU-1", "H100", "", "ml", pod, "server", "acme", "")
    energy_mj = seconds * 400 * SECOND
    figures = OwnerFigures(labels, True, seconds * SECOND, 0, energy_mj, used_nano, idle_nano)
    return figures._replace(**more)  # type: ignore[arg-type]


def page(**models: tuple[int, int, int | None]) -> Page:
    return Page("vllm", {name: Counts(*counts) for name, counts in models.items()})


def after(
    economics: Economics,
    seconds: float,
    shown: Page,
    *owners: OwnerFigures,
    unpriced: Collection[str] = (),
) -> tuple[Part, Served]:
    """One round; what stands then of the only model."""
    economics.spend(owners, unpriced)
    economics.take(round(seconds * SECOND), shown)
    (part,) = economics.parts()
    return part, served([part])


def test_both_bases_energy_and_requests() -> None:
    economics = Economics(Match(pod="vllm-*"))
    after(economics, 0, page(m=(1_000, 500, 10)), owner("vllm-1", 7, 3, seconds=1))
    part, figures = after(
        economics,
        60,
        page(m=(3_000_000, 500_500, 40)),
        owner("vllm-1", 1_000_000_007, 500_000_003, seconds=61),
        owner("train-1", 10**12, 10**12, seconds=61),
    )
    tokens = 2_999_000 + 500_000
    assert part.total == part.gone == Counts(2_999_000, 500_000, 30)
    assert figures.nano_per_million_held == 1_500_000_000 * 10**6 // tokens
    assert figures.nano_per_million_used == 1_000_000_000 * 10**6 // tokens
    assert figures.joules_per_token == pytest.approx(60 * 400 / tokens)
    assert figures.requests_per_gpu_hour == pytest.approx(30 * 60)
    assert economics.holder() == ("ml", "vllm-1", "acme")


def test_without_tokens_or_time_there_is_no_figure() -> None:
    economics = Economics(Match())
    assert economics.parts() == []
    assert served([]) == Served()
    part, figures = after(economics, 0, page(m=(5, 5, 1)), owner("a", 10, 0, seconds=10))
    assert part.total == Counts(0, 0, 0)
    assert figures == Served()
    part, figures = after(economics, 60, page(m=(5, 5, 1)), owner("a", 20, 0, seconds=70))
    assert figures == Served(requests_per_gpu_hour=0)


def test_the_first_half_minute_says_nothing() -> None:
    economics = Economics(Match())
    for seconds in (0, 15, 29):
        shown = page(m=(1_000 * seconds, 0, seconds))
        _, figures = after(economics, seconds, shown, owner("a", seconds, 0, seconds=seconds))
        assert figures == Served()
    _, figures = after(economics, 30, page(m=(30_000, 0, 30)), owner("a", 30, 0, seconds=30))
    assert figures.nano_per_million_held == 30 * 10**6 // 30_000


def test_time_without_a_price_takes_the_cost_away_until_it_left_the_window() -> None:
    economics = Economics(Match(), window_ms=600_000)
    nano, shown = 0, []
    for minute in range(30):
        lost = minute == 10
        nano += 0 if lost else 100
        _, figures = after(
            economics,
            60 * minute,
            page(m=(minute * 1_000, 0, minute)),
            owner("a", nano, 0, seconds=60 * minute),
            unpriced={"GPU-1"} if lost else {"GPU-2"},
        )
        shown.append(figures.nano_per_million_held)
        if minute:
            assert figures.requests_per_gpu_hour == 60
            assert figures.joules_per_token is not None
    assert shown == [None, *[100_000] * 9, *[None] * 10, *[100_000] * 10]


def test_a_gpu_that_never_had_a_price_has_no_cost() -> None:
    economics = Economics(Match())
    for minute in (0, 1):
        shown = page(m=(minute, minute, minute))
        _, figures = after(economics, 60 * minute, shown, owner("a", None, None, seconds=minute))
    assert figures.nano_per_million_held is None
    assert figures.nano_per_million_used is None
    assert figures.joules_per_token == 400 / 2


def test_a_gpu_that_stops_telling_its_energy_has_no_joules_a_token() -> None:
    economics = Economics(Match())
    after(economics, 0, page(m=(0, 0, 0)), owner("a", 0, 0, seconds=0))
    _, figures = after(economics, 60, page(m=(0, 10, 1)), owner("a", 1, 0, seconds=60))
    assert figures.joules_per_token == 2_400
    stopped = owner("a", 2, 0, seconds=120, energy_mj=60 * 400 * SECOND)
    _, figures = after(economics, 120, page(m=(0, 20, 2)), stopped)
    assert figures.joules_per_token is None
    assert figures.nano_per_million_held == 2 * 10**6 // 20


def test_servers_and_owners_that_begin_anew_count_on() -> None:
    economics = Economics(Match())
    after(economics, 0, page(m=(1_000, 1_000, 5)), owner("a", 100, 0, seconds=100))
    after(economics, 60, page(m=(1_500, 1_100, 6)), owner("a", 160, 0, seconds=160))
    # The server was restarted in another pod, and the old one's owner is gone.
    part, figures = after(economics, 120, page(m=(40, 4, 1)), owner("b", 30, 30, seconds=60))
    assert part.total == Counts(540, 104, 2)
    assert figures.nano_per_million_held == (60 + 60) * 10**6 // 644
    assert figures.nano_per_million_used == (60 + 30) * 10**6 // 644


def test_what_a_server_costs_while_it_is_away_counts() -> None:
    """Its owner's counters begin anew in the meantime, and pass where they stood."""
    economics = Economics(Match())
    after(economics, 0, page(m=(0, 0, 0)), owner("a", 100, 0, seconds=100))
    economics.spend([owner("a", 160, 0, seconds=160)])
    economics.spend([])
    economics.spend([owner("a", 10, 0, seconds=10)])
    part, figures = after(economics, 900, page(m=(50, 0, 1)), owner("a", 190, 0, seconds=190))
    assert part.total == Counts(50, 0, 1)
    assert figures.nano_per_million_held == (60 + 190) * 10**6 // 50


def test_the_window_moves_along_and_needs_few_points() -> None:
    economics = Economics(Match(), window_ms=600_000)
    for look in range(60 * 12):
        seconds = 5 * look
        spent = seconds * (1 if seconds < 2_400 else 2)
        shown = page(m=(seconds * 100, 0, look))
        part, figures = after(economics, seconds, shown, owner("a", spent, 0, seconds=seconds))
    assert part.total == Counts(359_500, 0, 719)
    # Of the last ten minutes only, or a thirtieth more.
    assert 60_000 <= part.gone.input <= 62_000
    assert figures.nano_per_million_held == 2 * 10**6 // 100
    assert len(economics._points) <= 32


@pytest.mark.parametrize("seed", range(5))
def test_the_models_of_a_server_share_its_cost_and_usage_is_a_part(seed: int) -> None:
    rng = random.Random(seed)
    economics = Economics(Match())
    used = idle = 0
    counts = {"a": [0, 0, 0], "b": [0, 0, 0]}
    for minute in range(30):
        economics.spend([owner("p", used, idle, seconds=60 * minute)])
        shown = Page("vllm", {name: Counts(*values) for name, values in counts.items()})
        economics.take(minute * 60_000, shown)
        last = used, idle
        used, idle = used + rng.randrange(10**9), idle + rng.randrange(10**9)
        for values in counts.values():
            for at in range(3):
                values[at] += rng.randrange(1, 10**6)
    parts = economics.parts()
    assert [part.model for part in parts] == ["a", "b"]
    assert sum(part.share for part in parts) == 1
    of_used = of_held = Fraction(0)
    everything = 0
    for part in parts:
        figures = served([part])
        held, mine = figures.nano_per_million_held, figures.nano_per_million_used
        assert held is not None
        assert mine is not None
        assert mine <= held
        tokens = part.gone.input + part.gone.output
        everything += tokens
        of_held += Fraction(held * tokens, 10**6)
        of_used += Fraction(mine * tokens, 10**6)
    # The models together bear what the GPUs cost, rounded down to a nano-dollar per million.
    assert 0 <= sum(last) - of_held <= Fraction(everything, 10**6)
    assert 0 <= last[0] - of_used <= Fraction(everything, 10**6)


def test_servers_under_the_same_labels_are_one_an_idle_one_included() -> None:
    """Two replicas in containers of one machine: one has all the traffic."""
    busy, idle = Economics(Match(container="v1")), Economics(Match(container="v2"))
    for economics, rate in ((busy, 1_000), (idle, 0)):
        for minute in (0, 1):
            held = owner("", 300 * minute, 100 * minute, seconds=60 * minute)
            name = "v1" if rate else "v2"
            economics.spend([held._replace(labels=(*held.labels[:6], name, *held.labels[7:]))])
            economics.take(minute * 60_000, page(m=(rate * minute, 0, rate * minute)))
    figures = served([*busy.parts(), *idle.parts()])
    assert figures == Served(800 * 10**6 // 1_000, 600 * 10**6 // 1_000, 48.0, 1_000 * 30.0)
    assert served(busy.parts()).nano_per_million_held == 400 * 10**6 // 1_000
