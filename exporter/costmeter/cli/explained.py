"""Explanations as text for people and as JSON with every digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from costmeter.cli.settings import usd
from costmeter.cli.table import Value, exact, show
from costmeter.ledger.explain import Event, Figure, State, UsedRate
from costmeter.ledger.explain_series import Counter, Gauge
from costmeter.model import MS_PER_DAY, NANO_PER_USD

#: Families whose integers are no money.
_COUNTS = ("llm_requests_total", "llm_tokens_total", "llm_unpriced_requests_total")


def when(at_ms: int) -> str:
    text = datetime.fromtimestamp(at_ms // 1_000, UTC).isoformat()
    return text.replace("+00:00", "Z")


def day(number: int) -> str:
    return datetime.fromtimestamp(number * MS_PER_DAY // 1_000, UTC).date().isoformat()


def money(nano: int | None) -> Any:
    return None if nano is None else exact(usd(nano))


def rate_json(used: UsedRate | None) -> dict[str, Any] | None:
    if used is None:
        return None
    return {
        "rate": used.rate.rate_id,
        "source": used.rate.source,
        "valid_from": used.rate.valid_from or None,
        "first_used": when(used.known_ms),
        "usd_per_million": {n: money(p) for n, p in sorted(used.rate.prices.items())},
    }


def event_json(event: Event) -> dict[str, Any]:
    return {
        "event": event.event,
        "id": event.event_id,
        "tenant_id": event.tenant_id,
        "at": when(event.at_ms),
        "feed": event.feed,
        "in_totals": event.in_totals,
        "states": [_state_json(state) for state in event.states],
        "postings": [
            {"kind": one.kind, "booked": day(one.booked), "usd": money(one.nano)}
            for one in event.entries
        ],
        "net_usd": money(event.net),
    }


def _state_json(state: State) -> dict[str, Any]:
    return {
        "kind": state.kind,
        "booked": day(state.booked),
        "labels": {name: text for name, text in state.labels._asdict().items() if text},
        "status": state.status,
        "processing": state.processing,
        "quantities": dict(state.quantities),
        "price": rate_json(state.rate),
        "costs_usd": {name: money(nano) for name, nano in state.costs.items()},
        "usd": money(state.nano),
    }


def print_event(event: Event) -> None:
    last = event.states[-1]
    print(f"event {event.event_id} of {event.tenant_id}, {when(event.at_ms)}, feed {event.feed}")
    for state in event.states:
        verb = {"usage": "came", "reprice": "was repriced", "correct": "was corrected"}
        labels = state.labels
        print(
            f"\n{verb.get(state.kind, state.kind)} on {day(state.booked)}: "
            f"{labels.provider}/{labels.model}, {state.processing}, {state.status}"
        )
        rows: list[Sequence[Value]] = [
            (
                name,
                state.quantities.get(name),
                _price(state, name),
                None if name not in state.costs else usd(state.costs[name]),
            )
            for name in dict.fromkeys((*state.quantities, *state.costs))
        ]
        rows.append(("total", None, None, None if state.nano is None else usd(state.nano)))
        show(("class", "count", "usd_per_million", "usd"), rows, as_json=False, places=9)
        print(f"price: {_rate_text(state.rate)}")
    print("\npostings:")
    postings: list[Sequence[Value]] = [
        (one.kind, day(one.booked), usd(one.nano)) for one in event.entries
    ]
    postings.append(("sum", None, usd(event.net)))
    show(("kind", "booked", "usd"), postings, as_json=False, places=9)
    if last.nano is None:
        print("it is unpriced: counted, and booked at a price as soon as one is known")
    if not event.in_totals:
        print("it is booked and not in the totals yet; that takes a second or two")


def _price(state: State, name: str) -> Decimal | None:
    if state.rate is None or name not in state.rate.rate.prices:
        return None
    return usd(state.rate.rate.prices[name])


def _rate_text(used: UsedRate | None) -> str:
    if used is None:
        return "none is known"
    since = f", valid from {used.rate.valid_from}" if used.rate.valid_from else ""
    return f"{used.rate.source}{since} ({used.rate.rate_id})"


def figure_json(group: Mapping[str, str], figure: Figure) -> dict[str, Any]:
    return {
        **group,
        "net_usd": money(figure.net),
        "kinds": [
            {
                "kind": part.kind,
                "requests": part.requests,
                "cost_usd": money(part.up),
                "credit_usd": money(part.down),
                "net_usd": money(part.up - part.down),
            }
            for part in figure.kinds
        ],
        "classes": [
            {"class": part.name, "quantity": part.quantity, "usd": money(part.nano)}
            for part in figure.classes
        ],
        "prices": [
            {"events": part.events, "usd": money(part.nano), **(rate_json(part.used) or {})}
            for part in figure.rates
        ],
        "other_postings": [
            {"kind": kind, "count": count, "usd": money(nano)}
            for kind, count, nano in figure.postings
        ],
        "sum_of_events_usd": money(figure.of_events),
        "adds_up": figure.net == figure.of_events,
    }


def print_figure(group: Mapping[str, str], figure: Figure) -> None:
    named = ", ".join(f"{name} {text or '(none)'}" for name, text in group.items())
    print(f"{named or 'everything'}: {exact(usd(figure.net))} USD\n")
    kinds: list[Sequence[Value]] = [
        (part.kind, part.requests, usd(part.up), usd(part.down), usd(part.up - part.down))
        for part in figure.kinds
    ]
    show(
        ("booked_as", "requests", "cost_usd", "credit_usd", "net_usd"), kinds, as_json=False,
        places=9,
    )  # fmt: skip
    print()
    classes: list[Sequence[Value]] = [
        (part.name, part.quantity, usd(part.nano)) for part in figure.classes
    ]
    show(("class", "count", "net_usd"), classes, as_json=False, places=9)
    print()
    rates: list[Sequence[Value]] = [
        (part.events, None if part.used is None else usd(part.nano), _rate_text(part.used))
        for part in figure.rates
    ]
    rates += [
        (count, usd(nano), f"{kind}: postings that no event made")
        for kind, count, nano in figure.postings
    ]
    show(("events", "net_usd", "price"), rates, as_json=False, places=9)
    verdict = "as the cells do" if figure.net == figure.of_events else "NOT what the cells hold"
    print(f"events and postings give {exact(usd(figure.of_events))} USD, {verdict}")


def _number(family: str, value: int) -> Any:
    return value if family in _COUNTS else exact(Decimal(value) / NANO_PER_USD)


def counter_json(one: Counter) -> dict[str, Any]:
    return {
        "family": one.family,
        "labels": dict(one.labels),
        "at": when(one.clock_ms),
        "shown": _number(one.family, one.shown),
        "value": _number(one.family, one.value),
        "cells": _number(one.family, one.cells),
        "opening": _number(one.family, one.opening),
        "held_until": when(one.hold_until_ms) if one.held else None,
        "withheld_late": _number(one.family, one.pending),
        "releases": [
            {
                "amount": _number(one.family, release.amount),
                "from": when(release.from_ms),
                "until": when(release.until_ms),
                "pending": _number(one.family, release.pending(one.clock_ms)),
            }
            for release in one.releases
        ],
    }


def print_counter(one: Counter) -> None:
    figures = counter_json(one)
    print(_named(one.family, one.labels))
    print(f"  shows now   {figures['shown']}")
    print(f"  holds       {figures['value']}  = {figures['cells']} of cells"
          f" + {figures['opening']} opening")  # fmt: skip
    if one.held:
        print(f"  it is new: shown at 0 until {figures['held_until']}, so that increase() sees it")
    for release in figures["releases"]:
        print(
            f"  late        {release['pending']} of {release['amount']} withheld, shown little by "
            f"little until {release['until']}"
        )


def gauge_json(one: Gauge) -> dict[str, Any]:
    return {
        "family": one.family,
        "labels": dict(one.labels),
        "from": when(one.start_ms),
        "until": when(one.end_ms),
        "usd": money(one.value),
        "cells": [
            {
                **{name: text for name, text in cell.labels._asdict().items() if text},
                "kind": cell.kind,
                "booked": day(cell.booked),
                "hours": cell.hours,
                "net_usd": money(cell.net),
            }
            for cell in one.cells
        ],
        "sum_usd": money(sum(cell.net for cell in one.cells)),
    }


def print_gauge(one: Gauge) -> None:
    print(_named(one.family, one.labels))
    print(f"  {exact(usd(one.value))} USD, usage from {when(one.start_ms)} to {when(one.end_ms)}")
    rows: list[Sequence[Value]] = []
    for cell in one.cells:
        labels = cell.labels
        who = "/".join(part for part in (labels.team, labels.project, labels.feature) if part)
        rows.append((labels.model, who, cell.kind, day(cell.booked), cell.hours, usd(cell.net)))
    rows.append(("sum", None, None, None, None, usd(sum(cell.net for cell in one.cells))))
    columns = ("model", "team/project/feature", "kind", "booked", "hours", "net_usd")
    show(columns, rows, as_json=False, places=9)


def _named(family: str, labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{name}="{text}"' for name, text in labels.items() if text)
    return f"{family}{{{inner}}}"
