"""What other prices would change in the figures that are booked already."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from costmeter.ledger.accrual import hour_of, time_of
from costmeter.ledger.explain import EventNow
from costmeter.model import GPU_ENERGY
from costmeter.pricing import PriceBook, Rate
from costmeter.pricing.gpu_hours import gpu_hour


class Effect(NamedTuple):
    """Calls of one model: what they stand at, and what a book would make of them.

    `moved` counts those that would change, `priced` those among them that have no price
    now. Nano-USD; `new - old` is what repricing would post.
    """

    provider: str
    model: str
    calls: int
    moved: int
    priced: int
    old: int
    new: int


def effects(book: PriceBook, events: Iterable[EventNow]) -> list[Effect]:
    """The effect by provider and model, largest change first; models without one left out.

    As repricing does: what the book cannot price keeps what it stands at. A GPU's time is
    priced by the whole hour, as it was booked.
    """
    sums: dict[tuple[str, str], list[int]] = {}
    hours: dict[tuple[str, int], list[EventNow]] = {}
    for event in events:
        if event.resource:
            hours.setdefault((event.resource, hour_of(event.at_ms)), []).append(event)
            continue
        rate = book.rate(event.labels, event.at_ms, event.processing, event.quantities)
        _add(sums, [event], event.nano, None if rate is None else rate.cost(event.quantities))
    for pieces in hours.values():
        known = [piece.nano for piece in pieces if piece.nano is not None]
        _add(sums, pieces, sum(known) if known else None, _hour(book, pieces))
    found = [Effect(*key, *figures) for key, figures in sums.items() if figures[1]]
    return sorted(found, key=lambda one: (-abs(one.new - one.old), one))


def _hour(book: PriceBook, pieces: Sequence[EventNow]) -> int | None:
    """What a GPU's hour would be, all owners and states together; None: no price of any."""
    held: dict[str, tuple[Rate, list[int]]] = {}
    kept, priced = 0, False
    for piece in pieces:
        rate = book.rate(piece.labels, piece.at_ms, piece.processing, piece.quantities)
        if rate is None or gpu_hour(rate, 1, 0) is None:
            kept += piece.nano or 0
            continue
        priced = True
        _, sums = held.setdefault(rate.rate_id, (rate, [0, 0]))
        sums[0] += time_of(piece.quantities)
        sums[1] += piece.quantities.get(GPU_ENERGY, 0)
    if not priced:
        return None
    return kept + sum(gpu_hour(rate, *sums) or 0 for rate, sums in held.values())


def _add(
    sums: dict[tuple[str, str], list[int]],
    events: list[EventNow],
    old: int | None,
    new: int | None,
) -> None:
    labels = events[0].labels
    figures = sums.setdefault((labels.provider, labels.model), [0] * 5)
    new = old if new is None else new
    figures[0] += len(events)
    if new != old:
        figures[1] += len(events)
        figures[2] += len(events) if old is None else 0
    figures[3] += old or 0
    figures[4] += new or 0
