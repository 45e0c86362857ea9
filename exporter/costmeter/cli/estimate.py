"""`costmeter estimate`: what usage would cost, before it happens."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from costmeter.analysis import estimate as estimates
from costmeter.analysis.estimate import CallEstimate, Ranked
from costmeter.cli.amounts import count, quantities_of, share
from costmeter.cli.errors import CommandError
from costmeter.cli.nearby import models_like, provider_like
from costmeter.cli.settings import config_of, instant, usd, wall_ms
from costmeter.cli.table import Value, exact, show
from costmeter.engine.terms import price_book
from costmeter.model import Labels
from costmeter.pricing import PriceBook


def book_of(arguments: argparse.Namespace) -> PriceBook:
    """The prices that an exporter with this configuration would use."""
    config = config_of(arguments)
    return price_book(config)


def moment(arguments: argparse.Namespace) -> int:
    """The instant whose prices are asked for; now without `--at`."""
    now_ms = wall_ms()
    return instant(arguments.at, now_ms) if arguments.at else now_ms


def call(arguments: argparse.Namespace) -> int:
    """One call by class, with what the cache saves; 1 when it has no price."""
    at_ms, labels = moment(arguments), _labels(arguments)
    quantities = quantities_of(arguments.tokens, arguments.units)
    book = book_of(arguments)
    found = estimates.estimate_call(book, labels, at_ms, quantities, arguments.processing)
    if arguments.json:
        print(json.dumps(_call_json(found), indent=2))
    else:
        rows: list[Sequence[Value]] = [
            (name, quantities.get(name, 1), usd(nano)) for name, nano in found.costs.items()
        ]
        if found.total is not None:
            rows.append(("total", None, usd(found.total)))
        if rows:
            show(("class", "count", "cost_usd"), rows, as_json=False, places=9)
    if found.total is None:
        return _unpriced(book, labels, found, arguments.processing)
    if found.cache_saving and not arguments.json:
        verb = "saves" if found.cache_saving > 0 else "costs"
        print(f"the cache {verb} {exact(usd(abs(found.cache_saving)))} USD")
    if not arguments.json and found.rate is not None:
        print(f"price: {found.rate.source}")
    return 0


def conversation(arguments: argparse.Namespace) -> int:
    """Turn by turn, with the context that each carries along."""
    at_ms, labels, book = moment(arguments), _labels(arguments), book_of(arguments)
    talk = estimates.Conversation(
        turns=count(arguments.turns, "--turns", 1),
        tokens_in=count(arguments.input, "--input"),
        tokens_out=count(arguments.output, "--output"),
        growth=share(arguments.growth, "--growth"),
        cached=arguments.cached,
    )
    if talk.turns > 10_000:
        raise CommandError("--turns is more than 10000; write fewer")
    turns = estimates.estimate_conversation(book, labels, at_ms, talk, arguments.processing)
    if any(turn.nano is None for turn in turns):
        first = next(turn for turn in turns if turn.nano is None)
        found = estimates.estimate_call(book, labels, at_ms, first.quantities, arguments.processing)
        return _unpriced(book, labels, found, arguments.processing)
    rows: list[Sequence[Value]] = []
    spent = 0
    for turn in turns:
        spent += turn.nano or 0
        sent = [turn.quantities.get(name, 0) for name in ("input", "cache_read", "output")]
        rows.append((turn.number, *sent, usd(turn.nano or 0), usd(spent)))
    columns = ("turn", "input", "cache_read", "output", "cost_usd", "so_far_usd")
    if not arguments.json and len(rows) > 24:
        rows = [*rows[:12], ("...", None, None, None, None, None), *rows[-11:]]
    show(columns, rows, as_json=arguments.json, places=9)
    _tell_window(book, arguments, talk)
    return 0


def workload(arguments: argparse.Namespace) -> int:
    """Every model that can do a workload, cheapest first; 1 when none can."""
    book, at_ms = book_of(arguments), moment(arguments)
    quantities = quantities_of(arguments.tokens, arguments.units)
    calls = count(arguments.calls, "--calls", 1)
    context = count(arguments.context, "--context", 1) if arguments.context else None
    providers = {book.provider_id(name) for name in arguments.provider}
    models = [pair for pair in book.models() if not providers or pair[0] in providers]
    if not models:
        near = provider_like(book, arguments.provider[0])
        raise CommandError(
            f"no price list names the provider {', '.join(arguments.provider)}.{near}".rstrip(".")
        )
    ranked = estimates.rank_models(
        book, models, at_ms, quantities, calls, context=context, processing=arguments.processing
    )
    if not arguments.deprecated:
        ranked = [one for one in ranked if not one.deprecated]
    able = [one for one in ranked if not one.why]
    unable = [one for one in ranked if one.why]
    top = able[: count(arguments.top, "--top", 1)]
    rows = [_ranked(place, one) for place, one in enumerate(top, 1)]
    if arguments.json:
        rows += [_ranked(None, one) for one in unable]
    columns = ["rank", "provider", "model", "context_window", "call_usd", "day_usd", "month_usd"]
    if arguments.json:
        columns.append("why_not")
    else:
        rows = [row[:-1] for row in rows]
    show(columns, rows, as_json=arguments.json, places=6)
    if not arguments.json:
        _tell_unable(len(top), len(able), unable, all_of_them=arguments.all)
    return int(not able)


def _labels(arguments: argparse.Namespace) -> Labels:
    return estimates.usage_labels(
        arguments.provider, arguments.model, arguments.account, arguments.region
    )


def _call_json(found: CallEstimate) -> dict[str, Any]:
    rate = found.rate
    return {
        "costs_usd": {name: exact(usd(nano)) for name, nano in found.costs.items()},
        "total_usd": None if found.total is None else exact(usd(found.total)),
        "cache_saving_usd": None if found.cache_saving is None else exact(usd(found.cache_saving)),
        "unpriced": list(found.missing) if rate is not None else None,
        "rate": None if rate is None else rate.rate_id,
        "source": None if rate is None else rate.source,
    }


def _unpriced(book: PriceBook, labels: Labels, found: CallEstimate, processing: str) -> int:
    what = f"{labels.provider}/{labels.model}"
    why = f"no price for {', '.join(found.missing)}" if found.missing else f"no {processing} price"
    print(
        f"{what} has {why} at that time: this is unpriced, not free; add a line to a file of "
        f"prices.files.{'' if found.missing else models_like(book, labels.provider, labels.model)}",
        file=sys.stderr,
    )
    return 1


def _tell_window(
    book: PriceBook, arguments: argparse.Namespace, talk: estimates.Conversation
) -> None:
    info = book.model_info(arguments.provider, arguments.model)
    window = None if info is None else info.context_window
    if window is None:
        return
    for number in range(1, talk.turns + 1):
        if sum(talk.quantities(number).values()) > window:
            print(f"from turn {number} on it is more than the window of {window:,} tokens")
            return


def _ranked(place: int | None, one: Ranked) -> Sequence[Value]:
    daily = None if one.daily is None else usd(one.daily)
    return (
        place,
        one.provider,
        one.model,
        one.context_window,
        None if one.per_call is None else usd(one.per_call),
        daily,
        None if daily is None else daily * 30,
        one.why or None,
    )


def _tell_unable(shown: int, able: int, unable: Sequence[Ranked], *, all_of_them: bool) -> None:
    if able > shown:
        print(f"{able - shown} more can do it; --top {able} shows all of them", file=sys.stderr)
    reasons: dict[str, list[str]] = {}
    for one in unable:
        reason = "context window too small" if "<" in one.why else one.why
        reasons.setdefault(reason, []).append(f"{one.provider}/{one.model}")
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        some = names if all_of_them else names[:3]
        rest = f" and {len(names) - len(some)} more" if len(names) > len(some) else ""
        print(f"left out, {reason}: {', '.join(some)}{rest}", file=sys.stderr)
