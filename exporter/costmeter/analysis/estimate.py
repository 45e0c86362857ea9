"""What usage would cost before it happens: pure functions of a price book and counts.

Money is integer nano-USD; a price that is not known gives None and never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

from costmeter.model import TOKEN_CLASSES, Labels, half_even
from costmeter.pricing import ModelInfo, PriceBook, Rate

#: What a token of a cache class would have been without a cache.
_UNCACHED: Mapping[str, str] = {
    "cache_read": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "input",
    "cache_read_audio": "input_audio",
    "cache_read_image": "input_image",
    "cache_read_video": "input_video",
}


def usage_labels(provider: str, model: str, account: str = "", region: str = "") -> Labels:
    """Labels that a price depends on, for a call that nobody has made."""
    return Labels(
        tenant_id="", category="llm_api", purpose="", provider=provider, account=account,
        region=region, model=model, environment="", team="", project="", service="", feature="",
        operation="",
    )  # fmt: skip


class CallEstimate(NamedTuple):
    """One call. `costs` by class; `cache_saving` is the cost without a cache less the cost,
    negative for a call that only fills it. `missing` names the classes without a price:
    with any, or without a rate, all amounts are None."""

    rate: Rate | None
    missing: tuple[str, ...]
    costs: Mapping[str, int]
    total: int | None
    cache_saving: int | None


def estimate_call(
    book: PriceBook,
    labels: Labels,
    at_ms: int,
    quantities: Mapping[str, int],
    processing: str = "standard",
) -> CallEstimate:
    """What one call costs at the price of an instant."""
    rate = book.rate(labels, at_ms, processing, quantities)
    if rate is None:
        return CallEstimate(None, (), {}, None, None)
    costs = rate.costs(quantities)
    if costs is None:
        missing = sorted(n for n, count in quantities.items() if count and n not in rate.prices)
        return CallEstimate(rate, tuple(missing), {}, None, None)
    plain: dict[str, int] = {}
    for name, count in quantities.items():
        whole = _UNCACHED.get(name, name)
        plain[whole] = plain.get(whole, 0) + count
    # Without a cache every token goes in all the same, so the tier is the same.
    without = rate.cost(plain)
    total = sum(costs.values())
    return CallEstimate(rate, (), costs, total, None if without is None else without - total)


class Turn(NamedTuple):
    """One turn of a conversation; `nano` is None without a price."""

    number: int
    quantities: Mapping[str, int]
    nano: int | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation of `turns` turns, each of `tokens_in` new and `tokens_out` answered.

    `growth` is the share of everything said in earlier turns, questions and answers, that
    is sent along as context: 1 sends the whole history each time, 0 none of it. Turn t
    (from 1) so sends `tokens_in + growth * (t - 1) * (tokens_in + tokens_out)` tokens, the
    context rounded half to even. With `cached`, what the turn before had sent already is
    read from the cache.
    """

    turns: int
    tokens_in: int = 50
    tokens_out: int = 200
    growth: Fraction = Fraction(3, 10)
    cached: bool = False

    def context(self, turn: int) -> int:
        """Tokens of earlier turns that turn `turn` sends along."""
        said = (turn - 1) * (self.tokens_in + self.tokens_out)
        return half_even(said * self.growth.numerator, self.growth.denominator)

    def quantities(self, turn: int) -> dict[str, int]:
        context = self.context(turn)
        sent = self.context(turn - 1) + self.tokens_in if turn > 1 else 0
        read = min(context, sent) if self.cached else 0
        found = {
            "input": self.tokens_in + context - read,
            "cache_read": read,
            "output": self.tokens_out,
        }
        return {name: count for name, count in found.items() if count}


def estimate_conversation(
    book: PriceBook, labels: Labels, at_ms: int, talk: Conversation, processing: str = "standard"
) -> list[Turn]:
    """Each turn priced as the call that it is: a long one may reach a dearer tier."""
    turns = []
    for number in range(1, talk.turns + 1):
        quantities = talk.quantities(number)
        found = estimate_call(book, labels, at_ms, quantities, processing)
        turns.append(Turn(number, quantities, found.total))
    return turns


class Ranked(NamedTuple):
    """A model for a workload. `daily` is None for one that cannot be priced.

    `why` is "" for a model that can do it, else why it is not ranked.
    """

    provider: str
    model: str
    context_window: int | None
    deprecated: bool
    per_call: int | None
    daily: int | None
    why: str


def rank_models(
    book: PriceBook,
    models: Iterable[tuple[str, str]],
    at_ms: int,
    quantities: Mapping[str, int],
    calls_a_day: int,
    *,
    context: int | None = None,
    processing: str = "standard",
) -> list[Ranked]:
    """Models for a workload, cheapest first; those that cannot do it stand behind, with why.

    A model has to hold `context` tokens, or what one call sends and receives. One whose
    window nobody told is taken on trust unless `context` asks for it.
    """
    tokens = sum(count for name, count in quantities.items() if name in TOKEN_CLASSES)
    needed = max(context or 0, tokens)
    ranked = []
    for provider, model in models:
        info = book.model_info(provider, model) or ModelInfo(provider, model, model, "")
        found = estimate_call(book, usage_labels(provider, model), at_ms, quantities, processing)
        why = ""
        if info.context_window is None and context is not None:
            why = "context window not known"
        elif info.context_window is not None and info.context_window < needed:
            why = f"context window {info.context_window} < {needed}"
        elif found.rate is None:
            why = f"no {processing} price"
        elif found.total is None:
            why = f"no price for {', '.join(found.missing)}"
        daily = None if found.total is None else found.total * calls_a_day
        ranked.append(
            Ranked(provider, model, info.context_window, info.deprecated, found.total, daily, why)
        )
    return sorted(ranked, key=lambda one: (bool(one.why), one.daily is None, one.daily or 0, one))


#: Two-sided quantiles of Student's t by degrees of freedom (1 to 6) and confidence.
T_QUANTILES: Mapping[int, tuple[str, ...]] = {
    80: ("3.077684", "1.885618", "1.637744", "1.533206", "1.475884", "1.439756"),
    90: ("6.313752", "2.919986", "2.353363", "2.131847", "2.015048", "1.943180"),
    95: ("12.706205", "4.302653", "3.182446", "2.776445", "2.570582", "2.446912"),
    99: ("63.656741", "9.924843", "5.840909", "4.604095", "4.032143", "3.707428"),
}
INTERVAL = "total = D * mean, +- t(n-1) * s * sqrt(D + D^2 / n)"


class Projection(NamedTuple):
    """Spend of `days` days to come, nano-USD; `low` and `high` bound it where known."""

    days: int
    daily_mean: int
    total: int
    low: int | None
    high: int | None


def project_requests(per_call: int, calls_a_day: int, days: int) -> Projection:
    """A steady load: no interval, because nothing is known of how it varies."""
    daily = per_call * calls_a_day
    return Projection(days, daily, daily * days, None, None)


def project_days(sample: Sequence[int], days: int, confidence: int = 95) -> Projection:
    """The next `days` days from the sums of n = 2 to 7 past ones, n whole days.

    The bounds are a prediction interval of the sum, days taken as independent draws with
    one mean m and deviation s: D m +- t(n-1) s sqrt(D + D^2/n). The first term under the
    root is the days' own scatter, the second that of m, which n days only estimate.
    ValueError for another count of days or another confidence than in `T_QUANTILES`.
    """
    if not 2 <= len(sample) <= 7:
        raise ValueError(f"{len(sample)} days give no interval; 2 to 7 do")
    if confidence not in T_QUANTILES:
        raise ValueError(f"{confidence} % is not tabulated; choose from 80, 90, 95, 99")
    n, total = len(sample), sum(sample)
    with localcontext() as context:
        context.prec = 50
        # s^2 = (n sum(x^2) - (sum x)^2) / (n (n-1)): integers until the one division.
        squares = n * sum(x * x for x in sample) - total * total
        variance = Decimal(squares) / (n * (n - 1))
        spread = (variance * (days + Decimal(days * days) / n)).sqrt()
        half = int((Decimal(T_QUANTILES[confidence][n - 2]) * spread).to_integral_value())
    expected = half_even(total * days, n)
    return Projection(days, half_even(total, n), expected, expected - half, expected + half)


class InfraPart(NamedTuple):
    """One position of a plan; `nano` None where no price is known. `source` vouches for it."""

    name: str
    amount: Decimal
    unit: str
    unit_nano: int | None
    nano: int | None
    source: str


def priced_part(
    name: str, amount: Decimal, unit: str, unit_nano: int | None, source: str
) -> InfraPart:
    """A position at nano-USD a unit, rounded once, half to even."""
    nano = None
    if unit_nano is not None:
        exact = Fraction(amount) * unit_nano
        nano = half_even(exact.numerator, exact.denominator)
    return InfraPart(name, amount, unit, unit_nano, nano, source)
