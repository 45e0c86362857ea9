"""How much a call used: the sender's own classes, or a provider's usage object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from costmeter.ingest.event import NOTHING, Amount, Event
from costmeter.ingest.refusal import Refused

if TYPE_CHECKING:
    from costmeter.normalise import Normalised

# Zeros are the defaults of the classes, and the structs leave defaults out.
_TO_DICT: Callable[[Amount], dict[str, int]] = msgspec.to_builtins
_NULL = b"null"


class Amounts(NamedTuple):
    """Quantities that are not zero, and what a provider's object said beside them."""

    quantities: Mapping[str, int]
    normalised: Normalised | None = None


def is_own(event: Event) -> bool:
    """True when the sender counted the classes itself."""
    return event.usage is NOTHING and event.response is NOTHING


def own_amounts(event: Event) -> dict[str, int]:
    """The sender's own classes that are not zero; raises Refused when there are none."""
    tokens, units = event.tokens, event.units
    if units is not None:
        return counted(tokens, units)
    if tokens is None:
        raise Refused(
            "tokens", "missing; send tokens, units, or the provider's usage", code="missing"
        )
    return _TO_DICT(tokens)


def amounts_of(event: Event) -> Amounts:
    """Exactly one of: tokens and units, usage, response; units may stand beside the two last.

    Raises Refused naming the field.
    """
    raw = event.usage is not NOTHING and bytes(event.usage) != _NULL
    whole = event.response is not NOTHING and bytes(event.response) != _NULL
    if not raw and not whole:
        return Amounts(own_amounts(event))
    if raw and whole:
        raise Refused("response", "send usage or response, not both")
    field = "usage" if raw else "response"
    if event.tokens is not None:
        raise Refused("tokens", f"send tokens or {field}, not both")
    normalised = _normalise(event, (event.provider or "").strip().lower(), field)
    quantities = dict(normalised.quantities)
    for name, amount in counted(None, event.units).items():
        if name in quantities:
            raise Refused(f"units.{name}", f"{field} counts it already; leave it out of units")
        quantities[name] = amount
    return Amounts(quantities, normalised)


def counted(tokens: Amount | None, units: Amount | None) -> dict[str, int]:
    """The classes that are not zero. Names and bounds were checked while decoding."""
    quantities: dict[str, int] = {} if tokens is None else _TO_DICT(tokens)
    if units is not None:
        quantities.update(_TO_DICT(units))
    return quantities


def _normalise(event: Event, provider: str, field: str) -> Normalised:
    # Late: the first scrape need not wait for every provider's reader.
    from costmeter.normalise import UsageError, normalise_response, normalise_usage

    try:
        value = msgspec.json.decode(event.usage if field == "usage" else event.response)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(field, f"not readable: {error}", code="usage") from None
    if not isinstance(value, Mapping):
        raise Refused(field, f"expected the provider's {field} object", code="usage")
    try:
        if field == "usage":
            return normalise_usage(provider, value)
        return normalise_response(provider, value)
    except UsageError as error:
        inner = f"{field}.{error.field}" if error.field else field
        raise Refused(inner[:200], error.reason, code="usage") from None
