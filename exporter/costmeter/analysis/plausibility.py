"""Is the amount of one record possible at all? Caught when it is booked, not after a day.

Three bounds, cheap enough for each booked event: what the dearest service on earth would
take, the list price of the same call, and what the model used to cost in this ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from msgspec import Struct, field

from costmeter.model import (
    NANO_PER_USD,
    PIECES_PER_PRICED_UNIT,
    TOKEN_CLASSES,
    Usage,
)
from costmeter.pricing.rates import MILLION, Rate, calls_of

Bound = Literal["ceiling", "list-price", "history", "call"]


def _ceilings() -> dict[str, int]:
    """USD a million tokens, or a priced unit of what is no token.

    About ten times the dearest list price known when this was written: 150 USD for a million
    tokens that go in, 600 for those that come out, 30 USD for an hour of GPU.
    """
    tokens = {
        name: 6_000 if name.startswith(("output", "reasoning")) else 1_500 for name in TOKEN_CLASSES
    }
    units = {
        "web_searches": 1,
        "social_searches": 1,
        "storage_searches": 1,
        "code_executions": 1,
        "rerank_searches": 1,
        "input_messages": 1,
        "input_pages": 1,
        "annotated_pages": 1,
        "unmetered_calls": 100,
        "audio_ms": 500,
        "input_audio_ms": 500,
        "output_audio_ms": 500,
        "gpu_ms": 300,
        "gpu_idle_ms": 300,
        "gpu_unallocated_ms": 300,
        "gpu_unobserved_ms": 300,
        "cpu_core_ms": 10,
        "memory_mib_ms": 5,
        "storage_mib_ms": 50,
        "network_bytes": 10,
    }
    return {**tokens, **units}


class Limits(Struct, frozen=True):
    """Where an amount stops being possible.

    `ceilings_usd`: per million tokens, per priced unit of other classes. `fee_usd`: allowed a
    call beside them. `times_list` and `times_history`: how many times the list price,
    and the model's usual price a token, an amount may be. Nothing under `floor_nano` is
    compared with either. `call_usd`: the most that one call may cost.
    """

    ceilings_usd: Mapping[str, int] = field(default_factory=lambda: MappingProxyType(_ceilings()))
    fee_usd: int = 1
    times_list: int = 20
    times_history: int = 20
    call_usd: int = 500
    floor_nano: int = NANO_PER_USD // 100


DEFAULT_LIMITS = Limits()


class Implausible(Struct, frozen=True):
    """One record that cannot be right: what, where, by how much, why, and what to do.

    `limit_nano` is the most that the bound lets the record cost.
    """

    bound: Bound
    nano: int
    limit_nano: int
    event_id: str
    at_ms: int
    tenant_id: str
    provider: str
    model: str
    rate_id: str
    why: str
    advice: str

    @property
    def text(self) -> str:
        amount = f"{self.nano / NANO_PER_USD:,.2f} USD"
        return f"{self.provider}/{self.model}: {amount} for one record ({self.why}). {self.advice}"


def check(
    usage: Usage,
    nano: int,
    rate: Rate | None,
    usual_nano_per_million: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Implausible | None:
    """The first bound that the record's amount breaks, None when it may be right.

    `nano` is what was, or would be, booked; a credit is judged by its size. `rate` is what
    the price book has for it, None where it knows none. `usual_nano_per_million` is the
    median over the ledger's past records of this provider and model of nano-USD a million
    tokens, all classes together, None where there are too few (`usual_price`).
    """
    size = abs(nano)
    if size <= limits.floor_nano:
        return None
    calls = calls_of(usage.quantities)
    most = _ceiling(usage.quantities, max(calls, 1), limits)
    if most is not None and size > most:
        why = f"the dearest known service would take {_usd(most)}"
        return _found(usage, nano, rate, "ceiling", most, why)
    if rate is not None:
        expected = (rate.listed or rate).cost(usage.quantities)
        if expected is not None:
            most = max(expected * limits.times_list, limits.floor_nano)
            if size > most:
                why = f"its list price is {_usd(expected)}"
                return _found(usage, nano, rate, "list-price", most, why)
    tokens = _tokens(usage.quantities)
    if usual_nano_per_million and tokens and not _others(usage.quantities):
        usual = usual_nano_per_million * tokens // MILLION
        most = max(usual * limits.times_history, limits.floor_nano)
        if size > most:
            why = f"so many tokens of this model cost {_usd(usual)} before"
            return _found(usage, nano, rate, "history", most, why)
    if calls and tokens and not usage.resource and size > limits.call_usd * calls * NANO_PER_USD:
        most = limits.call_usd * calls * NANO_PER_USD
        return _found(
            usage, nano, rate, "call", most, f"no call may cost over {_usd(most // calls)}"
        )
    return None


def usual_price(records: list[tuple[int, int]], least: int = 20) -> int | None:
    """Median nano-USD a million tokens of (tokens, nano) records; None below `least` of them.

    Records without tokens, and credits, do not count.
    """
    prices = sorted(nano * MILLION // tokens for tokens, nano in records if tokens > 0 < nano)
    return prices[len(prices) // 2] if len(prices) >= least else None


def _ceiling(quantities: Mapping[str, int], calls: int, limits: Limits) -> int | None:
    """Nano-USD at the ceilings; None when a class has none, which is no ground to judge."""
    total = limits.fee_usd * calls * NANO_PER_USD
    for name, count in quantities.items():
        if not count or name == "requests":
            continue
        usd = limits.ceilings_usd.get(name)
        if usd is None:
            return None
        pieces = MILLION if name in _TOKEN_SET else PIECES_PER_PRICED_UNIT.get(name, 1)
        total += -(-count * usd * NANO_PER_USD // pieces)
    return total


_TOKEN_SET = frozenset(TOKEN_CLASSES)


def _tokens(quantities: Mapping[str, int]) -> int:
    return sum(count for name, count in quantities.items() if name in _TOKEN_SET)


def _others(quantities: Mapping[str, int]) -> bool:
    return any(count and name not in _TOKEN_SET for name, count in quantities.items())


def _usd(nano: int) -> str:
    return f"{nano / NANO_PER_USD:,.2f} USD" if nano >= 10**7 else f"{nano / NANO_PER_USD:.6f} USD"


_ADVICE: Mapping[Bound, str] = MappingProxyType(
    {
        "ceiling": "Look for a price in the wrong unit (per thousand, per token) in "
        "prices.files, or for a sender that counts wrongly; then correct or reprice the record.",
        "list-price": "Compare the contract or price line with the list price; then run "
        "`costmeter reprice`.",
        "history": "See what changed for this model: a new price line, a discount that ended, "
        "or another unit; then run `costmeter reprice`.",
        "call": "See whether the record sums up many calls: then say how many in `units.requests`.",
    }
)


def _found(
    usage: Usage, nano: int, rate: Rate | None, bound: Bound, most: int, why: str
) -> Implausible:
    labels = usage.labels
    return Implausible(
        bound,
        nano,
        most,
        usage.event_id,
        usage.at_ms,
        labels.tenant_id,
        labels.provider,
        labels.model,
        "" if rate is None else rate.rate_id,
        why,
        _ADVICE[bound],
    )
