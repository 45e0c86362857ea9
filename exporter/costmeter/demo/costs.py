"""What the calls of a trace cost, by the price book, and the budgets over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from costmeter.demo.trace import Call
from costmeter.model import Labels
from costmeter.pricing import PriceBook

_NO_LABELS = Labels(*[""] * len(Labels._fields))._replace(category="llm_api")


class Budget(NamedTuple):
    """A monthly limit; `tenant_id` "" counts everybody."""

    name: str
    tenant_id: str
    limit_nano: int


class Priced(NamedTuple):
    """A call and its cost; None where no price is known."""

    call: Call
    nano: int | None


def priced(calls: Iterable[Call], book: PriceBook) -> Iterator[Priced]:
    for call in calls:
        event = call.event
        labels = _NO_LABELS._replace(provider=event["provider"], model=event["model"])
        rate = book.rate(labels, call.at_ms, "standard", event["tokens"])
        yield Priced(call, None if rate is None else rate.cost(event["tokens"]))


def spent_since(calls: Iterable[Priced], start_ms: int, tenant_id: str = "") -> int:
    """Nano-USD of the calls from an instant on; "" counts every tenant."""
    return sum(
        call.nano or 0
        for call in calls
        if call.call.at_ms >= start_ms and tenant_id in ("", call.call.event["tenant_id"])
    )
