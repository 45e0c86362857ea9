"""A rate: the figures by which one call is priced, in integers.

A price is integer nano-USD per million priced units; the cost of n pieces of a class is
`n * price / (1_000_000 * pieces per priced unit)`, rounded half to even once a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from costmeter.model import (
    GPU_ENERGY,
    GPU_TIME_CLASSES,
    PIECES_PER_PRICED_UNIT,
    QUANTITIES,
    TOKEN_CLASSES,
    half_even,
)

MILLION = 1_000_000

#: A call's own fee: it is charged once a call, though no usage record counts it. A record
#: that sums up many calls says how many under this name; 0 where nobody knows.
FEE = "requests"

#: Price keys that stand for a class of theirs and no quantity has.
PRICE_KEYS: frozenset[str] = QUANTITIES | {"cache_write"}

#: Where a class takes its price when it has none of its own: from the wider class that
#: it is a part of, nearest first. A class whose chain ends without a price is unpriced.
CHAINS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cache_read": ("input",),
        "cache_write_5m": ("cache_write", "input"),
        "cache_write_1h": ("cache_write", "input"),
        "reasoning": ("output",),
        "input_audio": ("input",),
        "cache_read_audio": ("cache_read", "input_audio", "input"),
        "output_audio": ("output",),
        "input_image": ("input",),
        "cache_read_image": ("cache_read", "input_image", "input"),
        "output_image": ("output",),
        "input_video": ("input",),
        "cache_read_video": ("cache_read", "input_video", "input"),
        "output_video": ("output",),
        "annotated_pages": ("input_pages",),
        "input_audio_ms": ("audio_ms",),
        "output_audio_ms": ("audio_ms",),
    }
)

#: The price of a GPU's hour, whatever it is spent on. Rates hold the other states of a GPU
#: under this one figure: so they stay what they were before states were told apart.
GPU_MS = "gpu_ms"
_OTHER_STATES = frozenset(GPU_TIME_CLASSES) - {GPU_MS}
#: Classes of a GPU that follow its hour's price.
FOLLOWING: frozenset[str] = _OTHER_STATES | {GPU_ENERGY}

#: What counts towards the threshold of a tier: every token that goes in.
INPUT_CLASSES: frozenset[str] = frozenset(
    name for name in TOKEN_CLASSES if not name.startswith(("output", "reasoning"))
)

_DIVISORS: Mapping[str, int] = {
    name: MILLION * PIECES_PER_PRICED_UNIT.get(name, 1) for name in QUANTITIES
}


def resolve_chains(figures: Mapping[str, int]) -> dict[str, int]:
    """Figures by price key as prices by class, every class that a chain reaches included."""
    prices = {name: price for name, price in figures.items() if name in QUANTITIES}
    for name, chain in CHAINS.items():
        if name not in prices:
            for wider in chain:
                if wider in figures:
                    prices[name] = figures[wider]
                    break
    return prices


def fingerprint(prices: Mapping[str, int], least: Mapping[str, int]) -> str:
    """8 hex digits of the figures alone: equal figures give equal digits."""
    from hashlib import sha256  # late: it loads OpenSSL, and a GPU's node makes no rates

    text = repr((sorted(prices.items()), sorted(least.items())))
    return sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Rate:
    """The prices of one call, after dates, processing and tier have been decided.

    `rate_id` is a stable text that ends in a fingerprint of the figures: it changes when
    a figure changes. `source` says for a person where the figures come from and as of
    when. `prices` maps a class to nano-USD per million priced units. `least` holds the
    smallest billed quantity of a class that has one.
    """

    rate_id: str
    source: str
    prices: Mapping[str, int]
    least: Mapping[str, int] = field(default_factory=dict)
    fee: int = field(init=False, repr=False, compare=False)
    """Nano-USD a call costs whatever it consumed."""
    piece: Mapping[str, int] = field(init=False, repr=False, compare=False)
    """Nano-USD per piece of the classes where that is a whole number: no rounding there."""
    listed: Rate | None = None
    """The list prices of the same call, where a contract says others."""

    def __post_init__(self) -> None:
        whole = {}
        for name, price in self.prices.items():
            nano, part = divmod(price, _DIVISORS[name])
            if not part and name != FEE and name not in self.least:
                whole[name] = nano
        object.__setattr__(self, "piece", whole)
        object.__setattr__(self, "fee", half_even(self.prices.get(FEE, 0), MILLION))

    @property
    def figures(self) -> tuple[Mapping[str, int], ...]:
        """Everything that decides an amount, to see whether two rates are the same."""
        listed: Mapping[str, int] = {} if self.listed is None else self.listed.prices
        return self.prices, self.least, listed

    @property
    def valid_from(self) -> str:
        """The day (or `dailyHHMM`) from which the figures hold; "" where that is not known."""
        # An id is `<list>:<line>/<valid from>/<processing>/<tier>#<figures>`.
        parts = self.rate_id.rsplit("/", 3)
        return "" if len(parts) < 4 or parts[1] == "start" else parts[1]

    def costs(self, quantities: Mapping[str, int]) -> dict[str, int] | None:
        """Nano-USD by class, each rounded once; None when a class that is used has no price.

        The fee of a call stands under `requests`: once, or as often as `quantities` says
        (an aggregated record may count its calls). Classes with zero pieces are left out.
        """
        out: dict[str, int] = {}
        for name, count in quantities.items():
            if not count or name == FEE:
                continue
            price = self.prices.get(name)
            if price is None:
                if name not in FOLLOWING or GPU_MS not in self.prices:
                    return None
                if name == GPU_ENERGY:
                    continue  # the hour's price has it in it
                price = self.prices[GPU_MS]
            billed = max(count, self.least.get(name, 0))
            out[name] = half_even(billed * price, _DIVISORS[name])
        if FEE in self.prices:
            calls = quantities.get(FEE, 1)
            out[FEE] = half_even(calls * self.prices[FEE], MILLION)
        return out

    def cost(self, quantities: Mapping[str, int]) -> int | None:
        """The sum of `costs`; None when that is None."""
        costs = self.costs(quantities)
        return None if costs is None else sum(costs.values())


def calls_of(quantities: Mapping[str, int]) -> int:
    """How many calls a record holds: one, unless it says otherwise (0: nobody knows)."""
    return quantities.get(FEE, 1)


def input_tokens(quantities: Mapping[str, int]) -> int:
    """Every token that went into the call, cached or not: what a tier's threshold reads."""
    return sum(count for name, count in quantities.items() if name in INPUT_CLASSES)


@dataclass(frozen=True, slots=True)
class Tariff:
    """Rates by size of the call: `steps[i]` applies above `above[i]` input tokens.

    A step is a cliff: it prices every token of the call, not only those above it.
    `above[0]` is -1. A record of many calls is as large as one of them on average; where
    nobody knows how many they are, none of them is taken for a large one.
    """

    above: tuple[int, ...]
    rates: tuple[Rate, ...]

    def rate(self, quantities: Mapping[str, int]) -> Rate:
        # All pieces together are at least the input tokens: mostly that settles it.
        if len(self.above) == 1 or sum(quantities.values()) <= self.above[1]:
            return self.rates[0]
        tokens, calls = input_tokens(quantities), calls_of(quantities)
        if calls:
            for threshold, rate in zip(reversed(self.above), reversed(self.rates), strict=True):
                if tokens > threshold * calls:
                    return rate
        return self.rates[0]


#: A figure, or a base figure followed by `[above, figure]` steps.
Figure = int | tuple[int, tuple[tuple[int, int], ...]]


def build_tariff(
    identity: str,
    source: str,
    figures: Mapping[str, Figure],
    least: Mapping[str, int],
    listed: Mapping[str, Figure] | None = None,
) -> Tariff:
    """One rate for every threshold that any figure has.

    `listed` are list prices that the figures take the place of. What has no list price
    stands in the list at its own.
    """
    edges: set[int] = {-1}
    for figure in (*figures.values(), *(listed or {}).values()):
        if not isinstance(figure, int):
            edges.update(above for above, _ in figure[1])
    above = tuple(sorted(edges))
    rates = []
    for number, edge in enumerate(above):
        prices = resolve_chains({name: _at(figure, edge) for name, figure in figures.items()})
        kept = {name: value for name, value in least.items() if name in prices}
        rate_id = f"{identity}/{number}#{fingerprint(prices, kept)}"
        known: Rate | None = None
        if listed is not None:
            at_list = resolve_chains({name: _at(figure, edge) for name, figure in listed.items()})
            known = listing(rate_id, {**prices, **at_list}, kept)
            rate_id += fingerprint(known.prices, {})
        rates.append(Rate(rate_id, source, prices, kept, known))
    return Tariff(above, tuple(rates))


def listing(rate_id: str, prices: Mapping[str, int], least: Mapping[str, int]) -> Rate:
    """List prices beside a contract's; no event bears this rate itself."""
    return Rate(f"list:{rate_id}", "list", prices, least)


def scale(figures: Mapping[str, Figure], numerator: int, denominator: int) -> dict[str, Figure]:
    """Every figure times a ratio, rounded half to even to a whole nano per million."""
    out: dict[str, Figure] = {}
    for name, figure in figures.items():
        if isinstance(figure, int):
            out[name] = half_even(figure * numerator, denominator)
        else:
            base, steps = figure
            out[name] = (
                half_even(base * numerator, denominator),
                tuple((above, half_even(nano * numerator, denominator)) for above, nano in steps),
            )
    return out


def figure_of(raw: int | Iterable[object]) -> Figure:
    """A figure from its JSON shape: an integer, or `[base, [above, figure], ...]`."""
    if isinstance(raw, int):
        return raw
    base, *steps = raw
    if not isinstance(base, int):
        raise TypeError(f"not a figure: {raw!r}")
    pairs = []
    for step in steps:
        if not isinstance(step, list) or len(step) != 2:
            raise TypeError(f"not a tier: {step!r}")
        pairs.append((int(step[0]), int(step[1])))
    return base, tuple(pairs)


def _at(figure: Figure, edge: int) -> int:
    if isinstance(figure, int):
        return figure
    value, steps = figure
    for above, nano in steps:
        if above <= edge:
            value = nano
    return value
