"""What somebody may have meant who asked for a price that no list has."""

from __future__ import annotations

from difflib import get_close_matches

from costmeter.pricing import PriceBook
from costmeter.pricing.gpu import canonical_gpu
from costmeter.pricing.overrides import embedded_gpu_prices

#: Places of a card that are named.
_PLACES = 4


def models_like(book: PriceBook, provider: str, model: str) -> str:
    """` Did you mean openai/gpt-4o?`, or empty where nothing is near.

    Without a provider, every provider's models are looked at.
    """
    pairs = book.models()
    wanted = book.provider_id(provider) if provider else ""
    known = {name for name, _ in pairs}
    if wanted and wanted not in known:
        # Of providers with a name like it, rather one that has the model.
        near = get_close_matches(wanted, sorted(known), n=3, cutoff=0.7)
        near = [name for name in near if (name, model) in pairs] or near
        return _did_you_mean([f"{name}/{model}" for name in near[:1]])
    names = sorted({name for place, name in pairs if not wanted or place == wanted})
    near = [name for name in get_close_matches(model.lower(), names, n=3) if name != model]
    return _did_you_mean([f"{wanted}/{name}" if wanted else name for name in near])


def provider_like(book: PriceBook, provider: str) -> str:
    """` Did you mean openai?`, or empty."""
    known = sorted({name for name, _ in book.models()})
    return _did_you_mean(get_close_matches(provider.lower(), known, n=1, cutoff=0.7))


def _did_you_mean(names: list[str]) -> str:
    return f" Did you mean {', '.join(names)}?" if names else ""


def gpu_places(card: str, purchase: str) -> str:
    """Where the built-in list has a price of a card, as flags; else the cards it has.

    Prices of other places and cards come from a file of `prices.files`.
    """
    wanted = canonical_gpu(card)
    lines = [line for line in embedded_gpu_prices() if not purchase or line.purchase == purchase]
    flags = dict.fromkeys(
        f"--provider {line.provider}" + ("" if line.region == "*" else f" --region {line.region}")
        for line in lines
        if line.model == wanted.lower()
    )
    if not flags:
        cards = ", ".join(sorted({line.model.upper() for line in lines}))
        return f" The built-in list has {cards}." if cards else ""
    shown = list(flags)[:_PLACES]
    rest = f" and {len(flags) - _PLACES} more" if len(flags) > _PLACES else ""
    return f" The built-in list has it under {', or '.join(shown)}{rest}."
