"""What lists and price files say of GPUs, before any contract.

The price book asks it, and so does a GPU's node, which has neither catalogue nor contracts:
this module and what it imports stay light.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePath
from typing import NamedTuple

from costmeter.pricing.gpu import ON_DEMAND, canonical_gpu, canonical_place, listed
from costmeter.pricing.lines import ANY, EVER_MS, Line, Query, best, edges, merge
from costmeter.pricing.rates import Figure


class AtList(NamedTuple):
    """List prices, and the time within which they hold. No figures: not known."""

    identity: str
    source: str
    figures: Mapping[str, Figure] | None
    least: Mapping[str, int]
    from_ms: int
    until_ms: int


class Cards:
    """The list of the package and what price files lay over it."""

    def __init__(self, lines: Sequence[Line], overrides: Sequence[Line]) -> None:
        self.lines = tuple(lines)
        self.overrides = tuple(overrides)

    def at_list(self, query: Query, at_ms: int) -> AtList:
        """The list price of a card at an instant."""
        lines = [line for line in self.overrides if line.fits(query)]
        from_ms, until_ms = edges([*lines, *self.lines], at_ms)
        base = listed(self.lines, query, at_ms)
        on_demand = listed(self.lines, replace(query, purchase=ON_DEMAND), at_ms)
        below = None if base is None else base.figures
        identity = "" if base is None else told_of(base, query, "gpu")
        source = "" if base is None else base.source
        line = best(lines, at_ms)
        if line is not None:
            below = merge(line, below, None if on_demand is None else on_demand.figures)
            identity, source = told_of(line, query), source_of(line, source)
        return AtList(identity, source, below, {}, from_ms, until_ms)


def card_query(
    provider: str, model: str, account: str, region: str, instance_type: str, purchase: str,
    processing: str = "standard",
) -> Query:  # fmt: skip
    """A question about a card in the words of the lines."""
    return Query(
        provider=canonical_place(provider),
        model=canonical_gpu(model),
        account=account,
        region=region.lower(),
        instance_type=instance_type.lower(),
        purchase=purchase.lower() or ON_DEMAND,
        processing=processing,
    )


def numbered(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Later files win over earlier ones, so the position counts through all of them."""
    return tuple(replace(line, position=number) for number, line in enumerate(lines))


def told_of(line: Line, query: Query, kind: str = "override") -> str:
    """A line by its patterns, not by the name that met it: names are without end."""
    since = "start"
    if line.from_ms > EVER_MS:
        since = datetime.fromtimestamp(line.from_ms / 1000, UTC).strftime("%Y-%m-%d")
    narrowed = (line.account, line.region, line.instance_type, line.purchase)
    place = ",".join(part for part in narrowed if part != ANY)
    where = f"{line.provider}/{line.model}" + (f"@{place}" if place else "")
    return f"{kind}:{where}/{since}/{query.processing}"


def source_of(line: Line, below: str) -> str:
    """Where the figures come from, for a person."""
    name = PurePath(line.origin.rpartition(":")[0]).name
    text = f"{line.source} ({name})"
    if line.discount is not None and below:
        text += f", {float((1 - line.discount) * 100):g} % off {below}"
    return text
