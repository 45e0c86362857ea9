"""`costmeter explain`: why a figure is what it is."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from costmeter.cli.errors import CommandError
from costmeter.cli.explained import (
    counter_json,
    event_json,
    figure_json,
    gauge_json,
    print_counter,
    print_event,
    print_figure,
    print_gauge,
)
from costmeter.cli.settings import config_of, instant, wall_ms
from costmeter.ledger.explain import explain_event, explain_spend, find_events
from costmeter.ledger.explain_series import COUNTERS, GAUGES, counters, gauges
from costmeter.ledger.history import spend
from costmeter.ledger.store import Store, open_for_reading, transaction_for_reading
from costmeter.model import MS_PER_DAY

_SERIES = re.compile(r"(llm_[a-z_]+)(?:\{(.*)\})?")
_LABEL = re.compile(r'\s*([a-z_]+)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')


def explain(arguments: argparse.Namespace) -> int:
    """An event, a series or a figure of spend; 1 when its parts do not add up to it."""
    with closing(open_for_reading(config_of(arguments).ledger.path)) as store:
        series = _SERIES.fullmatch(arguments.what or "")
        with transaction_for_reading(store.connection):
            if series is not None:
                return _series(store, arguments, series[1], _labels(series[2] or ""))
            if arguments.what:
                return _event(store, arguments)
            return _spend(store, arguments)


def _event(store: Store, arguments: argparse.Namespace) -> int:
    tenant = next((v for n, v in _conditions(arguments) if n == "tenant_id"), "")
    numbers = find_events(store.connection, arguments.what, tenant)
    if not numbers:
        raise CommandError(
            f"there is no event {arguments.what!r} in the ledger; write its request id, its "
            "provider's response id, or a series such as 'llm_cost_total{model=\"gpt-4o\"}'"
        )
    events = [explain_event(store.connection, number) for number in numbers]
    if arguments.json:
        print(json.dumps([event_json(event) for event in events], indent=2))
    else:
        for event in events:
            print_event(event)
    return int(any(event.net != (event.states[-1].nano or 0) for event in events))


def _spend(store: Store, arguments: argparse.Namespace) -> int:
    now_ms = wall_ms()
    since_ms, until_ms = _span(arguments, now_ms)
    where = _conditions(arguments)
    by = [_dimension(name.strip()) for name in arguments.by.split(",") if name.strip()]
    if "kind" in by:
        raise CommandError("--by kind says nothing here: every figure is told by kind anyway")
    wrong = False
    told: list[dict[str, Any]] = []
    try:
        groups = spend(store.connection, by, since_ms=since_ms, until_ms=until_ms, where=where)
        for number, group in enumerate(groups[: arguments.top]):
            narrowed = [*where, *zip(by, group.group, strict=True)]
            figure = explain_spend(
                store.connection, store.cell_ms, narrowed, since_ms=since_ms, until_ms=until_ms
            )
            wrong |= not figure.net == figure.of_events == group.net
            name = dict(zip(by, group.group, strict=True))
            if arguments.json:
                told.append(figure_json(name, figure))
            else:
                print("\n" if number else "", end="")
                print_figure(name, figure)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if arguments.json:
        print(json.dumps(told, indent=2))
    elif not groups:
        print("nothing was spent there")
    elif len(groups) > arguments.top:
        rest = len(groups) - arguments.top
        print(f"and {rest} smaller figure{'s' if rest > 1 else ''}; --top shows more")
    return int(wrong)


def _span(arguments: argparse.Namespace, now_ms: int) -> tuple[int, int]:
    if arguments.day:
        start = instant(arguments.day, now_ms)
        if start % MS_PER_DAY:
            raise CommandError(f"--day {arguments.day!r} is no day; write 2026-11-20")
        return start, start + MS_PER_DAY
    until_ms = instant(arguments.until, now_ms) if arguments.until else now_ms + MS_PER_DAY
    return instant(arguments.since, now_ms), until_ms


def _series(
    store: Store, arguments: argparse.Namespace, family: str, wanted: Mapping[str, str]
) -> int:
    known = {**COUNTERS, **GAUGES}
    if family not in known:
        raise CommandError(f"{family} cannot be explained; choose from {', '.join(known)}")
    wrong = wanted.keys() - set(known[family])
    if wrong:
        raise CommandError(
            f"{family} has no label {min(wrong)!r}; it has {', '.join(known[family])}"
        )
    if family in COUNTERS:
        counted = counters(store.connection, family, wanted)
        _tell(counted, arguments, counter_json, print_counter)
        return int(any(one.value < one.pending for one in counted))
    dated = gauges(store.connection, family, wanted)
    _tell(dated, arguments, gauge_json, print_gauge)
    return int(any(one.value != sum(cell.net for cell in one.cells) for one in dated))


def _tell(found: Sequence[Any], arguments: argparse.Namespace, as_json: Any, as_text: Any) -> None:
    if not found:
        raise CommandError(f"no series fits {arguments.what}")
    if arguments.json:
        print(json.dumps([as_json(one) for one in found], indent=2))
        return
    for one in found[: arguments.top]:
        as_text(one)
    if len(found) > arguments.top:
        print(f"and {len(found) - arguments.top} more series; name more labels, or raise --top")


def _labels(text: str) -> dict[str, str]:
    """`model="gpt-4o",tenant_id="acme"` as PromQL writes it."""
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        match = _LABEL.match(text, place)
        if match is None:
            raise CommandError(f'{{{text}}} is no set of labels; write {{model="gpt-4o"}}')
        found[match[1]] = re.sub(r"\\(.)", r"\1", match[2])
        place = match.end()
    return found


def _conditions(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    found = []
    for text in arguments.where:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"--where {text!r} is no condition; write --where team=search")
        found.append((_dimension(name), value))
    return found


def _dimension(name: str) -> str:
    return "tenant_id" if name == "tenant" else name
