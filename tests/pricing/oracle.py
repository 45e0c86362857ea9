"""What genai-prices itself says a call costs, class by class.

Every difference between its answer and ours is one of these, and nothing else:

* UNPRICED_CLASS - a used class that no price of the model covers: it adds 0, we say unpriced.
* UNPRICED_PROCESSING - a processing for which the model has no active variant, or whose
  model is borrowed from another provider's list: it takes the standard price, we say unpriced.
* ROUNDED_FIGURE - a price with more than nine decimals (noise of somebody's floats): ours is
  rounded to a whole nano-USD per million; the data file lists every one under `rounded`.
* CITATION - citation tokens (one model) have a price of their own there and no class here;
  they are counted and priced as output.
* ROUTE, SEARCH_TYPE - request contexts that a usage record does not carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from genai_prices import Usage, types
from genai_prices.data_snapshot import get_snapshot
from genai_prices.decompose import compute_leaf_values
from genai_prices.types import calc_unit_price
from genai_prices.units import _get_registry

from costmeter.model import Labels

NANO = Decimal(10) ** 9
CONTEXTS: dict[str, dict[str, str]] = {
    "standard": {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}

#: The usage keys of genai-prices that count a piece of each class.
COUNTED_IN: dict[str, tuple[str, ...]] = {
    "input": ("input_tokens",),
    "cache_read": ("input_tokens", "cache_read_tokens"),
    "cache_write_5m": ("input_tokens", "cache_write_tokens", "cache_write_5m_tokens"),
    "cache_write_1h": ("input_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    "output": ("output_tokens",),
    "reasoning": ("output_tokens", "output_reasoning_tokens"),
    "input_audio": ("input_tokens", "input_audio_tokens"),
    "cache_read_audio": (
        "input_tokens",
        "cache_read_tokens",
        "input_audio_tokens",
        "cache_audio_read_tokens",
    ),
    "output_audio": ("output_tokens", "output_audio_tokens"),
    "input_image": ("input_tokens", "input_image_tokens"),
    "cache_read_image": (
        "input_tokens",
        "cache_read_tokens",
        "input_image_tokens",
        "cache_image_read_tokens",
    ),
    "output_image": ("output_tokens", "output_image_tokens"),
    "input_video": ("input_tokens", "input_video_tokens"),
    "cache_read_video": (
        "input_tokens",
        "cache_read_tokens",
        "input_video_tokens",
        "cache_video_read_tokens",
    ),
    "output_video": ("output_tokens", "output_video_tokens"),
    "web_searches": ("web_searches",),
    "social_searches": ("social_searches",),
    "storage_searches": ("storage_searches",),
    "code_executions": ("code_executions",),
    "rerank_searches": ("rerank_searches",),
    "input_characters": ("input_characters",),
    "input_messages": ("input_text_messages",),
    "input_pixels": ("input_pixels",),
    "input_pages": ("input_document_pages",),
    "annotated_pages": ("input_document_pages", "input_annotated_document_pages"),
    "audio_ms": ("audio_seconds",),
    "input_audio_ms": ("audio_seconds", "input_audio_seconds"),
    "output_audio_ms": ("audio_seconds", "output_audio_seconds"),
}


@dataclass(frozen=True)
class Expected:
    """`nano` is None where a listed difference says that we answer unpriced."""

    nano: int | None
    reason: str = ""


def at(at_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


def labels(provider: str, model: str, **more: str) -> Labels:
    blank = Labels("default", "llm_api", "", provider, "", "", model, *[""] * 6)
    return blank._replace(**more)


def usage(quantities: Mapping[str, int]) -> Usage:
    # The oracle asks for a plain 0 where two counted kinds could overlap.
    counts: dict[str, Any] = {
        f"cache_{kind}_read_tokens": 0 for kind in ("audio", "image", "video")
    }
    for name, count in quantities.items():
        amount = Decimal(count) / 1000 if name.endswith("_ms") else count
        for key in COUNTED_IN[name]:
            counts[key] = counts.get(key, 0) + amount
    return Usage(**counts)


def models() -> Iterator[tuple[types.Provider, types.ModelInfo]]:
    for provider in get_snapshot().providers:
        for model in provider.models:
            yield provider, model


def find(provider_id: str, name: str) -> tuple[types.Provider, types.ModelInfo] | None:
    try:
        return get_snapshot().find_provider_model(name, None, provider_id, None)
    except LookupError:
        return None


def names_for(model: types.ModelInfo) -> list[str]:
    """Names by which the model's own rule may be met: its id, and the texts of the rule."""
    found = [model.id]
    pending: list[Any] = [model.match]
    while pending:
        rule = pending.pop(0)
        pending += [*getattr(rule, "or_", ()), *getattr(rule, "and_", ())]
        kinds = ("equals", "starts_with", "ends_with", "contains")
        found += [getattr(rule, kind) for kind in kinds if hasattr(rule, kind)]
    return found


def reference(provider: types.Provider, model: types.ModelInfo) -> str | None:
    """A name under which this very model is found, None where another hides it."""
    for name in names_for(model):
        found = find(provider.id, name)
        if found is not None and found[1] is model:
            return name
    return None


def instants(model: types.ModelInfo) -> list[int]:
    """Instants just before and at every start of a price, and one long before all."""
    found = {1_600_000_000_000, 1_795_348_800_000}
    conditions = [] if isinstance(model.prices, types.ModelPrice) else list(model.prices)
    for one in [*conditions, *(model.price_variants or ())]:
        constraint = one.constraint
        if isinstance(constraint, types.StartDateConstraint):
            day = datetime.combine(constraint.start_date, datetime.min.time(), UTC)
            start = int(day.timestamp()) * 1000
            found |= {start - 1, start}
        elif isinstance(constraint, types.TimeOfDateConstraint):
            for clock in (constraint.start_time, constraint.end_time):
                edge = 1_795_348_800_000 + (clock.hour * 60 + clock.minute) * 60_000
                found |= {edge - 1, edge}
    return sorted(found)


def figures(model: types.ModelInfo) -> Iterator[tuple[str, Any]]:
    """Every price of a model with its key: of all dates, contexts and tiers."""
    dated = model.prices if isinstance(model.prices, list) else [model]
    for one in [*dated, *(model.price_variants or ())]:
        for key, value in one.prices.__dict__.items():
            if value is not None:
                yield key, value


def thresholds(model: types.ModelInfo) -> list[int]:
    tiered = [value for _, value in figures(model) if isinstance(value, types.TieredPrices)]
    return sorted({tier.start for value in tiered for tier in value.tiers})


def has_noisy_price(model: types.ModelInfo) -> bool:
    registry = _get_registry()
    return any(
        value != _rounded(value, registry.unit_for_price_key(key).per)
        for key, value in figures(model)
    )


def has_variant(model: types.ModelInfo, when: datetime, context: Mapping[str, str]) -> bool:
    return any(
        (variant.constraint is None or variant.constraint.active(when))
        and all(context.get(key) == value for key, value in variant.when.items())
        and any(value is not None for value in variant.prices.__dict__.values())
        for variant in model.price_variants or ()
    )


def expected(
    provider: types.Provider,
    model: types.ModelInfo,
    at_ms: int,
    processing: str,
    quantities: Mapping[str, int],
) -> Expected:
    """The oracle's price with every class rounded half-even to a nano, or why we differ."""
    when, context = at(at_ms), CONTEXTS[processing]
    own = any(model is one for one in provider.models)
    if processing != "standard" and not (own and has_variant(model, when, context)):
        return Expected(None, "UNPRICED_PROCESSING")
    whole = usage(quantities)
    result = model.calc_price(
        whole, provider, genai_request_timestamp=when, price_context=context or None
    )
    registry = _get_registry()
    units = {
        unit.usage_key: unit
        for key, value in result.model_price.__dict__.items()
        if value is not None and (unit := registry.unit_for_price_key(key))
    }
    prices = {key: getattr(result.model_price, unit.price_key) for key, unit in units.items()}
    if not units and not any(quantities.values()):
        # A model without any price: the oracle calls an empty call free, we call it unpriced.
        return Expected(None, "UNPRICED_MODEL")
    tokens = whole.input_tokens
    exact, nano = Decimal(0), 0
    for name, count in quantities.items():
        if not count:
            continue
        unit = _leaf(name, units)
        if unit is None:
            return Expected(None, "UNPRICED_CLASS")
        amount = Decimal(count) / 1000 if name.endswith("_ms") else Decimal(count)
        if provider.id == "groq" and model.id.startswith("whisper-large-v3"):
            amount = max(amount, Decimal(10))
        price = prices[unit.usage_key]
        exact += calc_unit_price(price, amount, tokens, unit.per)
        cost = calc_unit_price(_rounded(price, unit.per), amount, tokens, unit.per)
        nano += int((cost * NANO).to_integral_value(ROUND_HALF_EVEN))
    if "requests" in units:
        fee = calc_unit_price(prices["requests"], 1, tokens, units["requests"].per)
        exact += fee
        nano += int((fee * NANO).to_integral_value(ROUND_HALF_EVEN))
    # The parts above are the oracle's own figure: they add up to its total to ~25 digits.
    assert abs(exact - result.total_price) < Decimal("1e-18"), (exact, result.total_price)
    return Expected(nano)


def _leaf(name: str, priced: Mapping[str, Any]) -> Any:
    """The priced unit in which the oracle counts a piece of this class."""
    units = {key: unit for key, unit in priced.items() if key != "requests"}
    one = dict.fromkeys(COUNTED_IN[name], 1)
    lonely = type("Counts", (), one)()
    for key, count in compute_leaf_values(set(units), lonely, units).items():
        if count:
            return units[key]
    return None


def _rounded(price: Any, per: int) -> Any:
    """The price at a whole nano-USD per million units, as the data file keeps it."""
    if isinstance(price, types.TieredPrices):
        tiers = [types.Tier(tier.start, _rounded(tier.price, per)) for tier in price.tiers]
        return types.TieredPrices(base=_rounded(price.base, per), tiers=tiers)
    step = Decimal(per if per != 3600 else 1) / Decimal(10) ** 15
    return (price / step).to_integral_value(ROUND_HALF_EVEN) * step
