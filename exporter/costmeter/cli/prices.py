"""`costmeter prices show` and `prices update`: which prices hold, and newer ones."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from costmeter.analysis.estimate import usage_labels
from costmeter.cli.errors import CommandError
from costmeter.cli.nearby import gpu_places, models_like
from costmeter.cli.settings import config_of, instant, usd, wall_ms
from costmeter.cli.table import Value, exact, show
from costmeter.config import Config
from costmeter.engine.terms import price_book
from costmeter.model import GPU_ENERGY, PROCESSING, Labels
from costmeter.pricing import PriceBook
from costmeter.pricing.catalogue import NEVER_MS, Catalogue
from costmeter.pricing.editions import file_name, read_updates
from costmeter.pricing.incoming import read_catalogue
from costmeter.pricing.rates import CHAINS
from costmeter.pricing.tariffs import Found

#: Prices that change by the hour of the day have windows without end.
_STEPS = 100
_GPU = "gpu_compute"


def show_prices(arguments: argparse.Namespace) -> int:
    """Every price of a model at an instant; 1 when none is known."""
    config, now_ms = config_of(arguments), wall_ms()
    book = price_book(config)
    at_ms = instant(arguments.at, now_ms) if arguments.at else now_ms
    pairs = [
        (provider, model)
        for provider, model in _asked(book, arguments)
        if not arguments.provider or book.provider_id(arguments.provider) == provider
    ]
    records = [
        record
        for provider, model in pairs
        if (record := _record(book, provider, model, at_ms, arguments)) is not None
    ]
    if arguments.json:
        print(json.dumps(records, indent=2))
    else:
        for number, record in enumerate(records):
            if number:
                print()
            _print_record(record)
    if not records:
        where = f" of {arguments.provider}" if arguments.provider else ""
        what = "model"
        if arguments.gpu:
            # A card's price depends on the place; without one nothing can be found.
            what, where = "card", f" for {arguments.provider or 'any place'} {arguments.region}"
            near = gpu_places(arguments.model, arguments.purchase)
        else:
            near = models_like(book, arguments.provider or "", arguments.model)
        text = f"no price of a {what} {arguments.model!r}{where.rstrip()} is known.{near}"
        print(text, file=sys.stderr)
    return int(not records)


def _asked(book: PriceBook, arguments: argparse.Namespace) -> Iterable[tuple[str, str]]:
    """The models that are called so; under a named provider any name that it would price."""
    if arguments.provider:
        return [(book.provider_id(arguments.provider), arguments.model)]
    wanted = arguments.model.lower()
    return [pair for pair in book.models() if pair[1].lower() == wanted]


def _record(
    book: PriceBook, provider: str, model: str, at_ms: int, arguments: argparse.Namespace
) -> dict[str, Any] | None:
    labels = usage_labels(provider, model, arguments.account, arguments.region)
    if arguments.gpu:
        labels = labels._replace(category=_GPU, operation=arguments.purchase)
    # A card costs the same whatever it works on.
    kinds = ("standard",) if arguments.gpu else PROCESSING
    prices = [one for processing in kinds for one in _prices(book, labels, at_ms, processing)]
    if not prices:
        return None
    info = None if arguments.gpu else book.model_info(provider, model)
    return {
        "provider": provider,
        "model": model,
        "at": _time(at_ms),
        "name": info.name if info else model,
        "context_window": info.context_window if info else None,
        "deprecated": bool(info and info.deprecated),
        "deprecated_on": _time(info.deprecated_ms) if info and info.deprecated_ms else None,
        "replacement": (info.replacement if info else "") or None,
        "prices": prices,
    }


def _prices(
    book: PriceBook, labels: Labels, at_ms: int, processing: str
) -> Iterable[dict[str, Any]]:
    found = book.found(labels, at_ms, processing)
    if found.tariff is None:
        return
    for above, rate in zip(found.tariff.above, found.tariff.rates, strict=True):
        yield {
            "processing": processing,
            "above_input_tokens": max(above, 0),
            "usd_per_million": {
                name: exact(usd(nano)) for name, nano in sorted(rate.prices.items())
            },
            "valid_from": rate.valid_from or None,
            "valid_until": _until(book, labels, found, processing),
            "rate": rate.rate_id,
            "source": rate.source,
        }


def _until(book: PriceBook, labels: Labels, found: Found, processing: str) -> str | None:
    """When other figures follow; where only some other date lies, the price goes on."""
    until_ms = found.until_ms
    for _ in range(_STEPS):
        if until_ms == NEVER_MS:
            return None
        later = book.found(labels, until_ms, processing)
        if _figures(later) != _figures(found):
            return _time(until_ms)
        until_ms = later.until_ms
    return None


def _figures(found: Found) -> object:
    tariff = found.tariff
    return tariff and (tariff.above, [dict(rate.prices) for rate in tariff.rates])


def _print_record(record: dict[str, Any]) -> None:
    window = record["context_window"]
    print(f"{record['provider']}/{record['model']}  {record['name']}, at {record['at']}")
    if window:
        print(f"context window: {window:,} tokens")
    if record["deprecated"]:
        day = f" on {record['deprecated_on']}" if record["deprecated_on"] else ""
        instead = f"; use {record['replacement']} instead" if record["replacement"] else ""
        print(f"deprecated{day}{instead}")
    rows: list[Sequence[Value]] = []
    for one in record["prices"]:
        figures = one["usd_per_million"]
        for name, price in figures.items():
            # What only follows a wider class is said once, there.
            if any(figures.get(wider) == price for wider in CHAINS.get(name, ())):
                continue
            value, unit = per_unit(name, Decimal(price))
            above = one["above_input_tokens"]
            rows.append((one["processing"], f"> {above:,}" if above else "all", name, value, unit))
    show(("processing", "input", "class", "usd", "per"), rows, as_json=False, places=6)
    for line in dict.fromkeys(
        f"{one['processing']}: {one['source']}"
        + (
            f", from {one['valid_from']}"
            if one["valid_from"] and one["valid_from"] not in one["source"]
            else ""
        )
        + (f", until {one['valid_until']}" if one["valid_until"] else "")
        for one in record["prices"]
    ):
        print(line)


def per_unit(name: str, per_million: Decimal) -> tuple[Decimal, str]:
    """A price per million of a class in the unit that people know it by."""
    if name == GPU_ENERGY:
        return per_million / 10**6, "kWh"
    if name.endswith("_ms"):
        return per_million / 10**6, "hour"
    if name in ("input_characters", "input_pixels") or not name.endswith(PIECES):
        return per_million, "million"
    return per_million / 10**6, "piece"


PIECES = ("searches", "executions", "messages", "pages", "requests")


def update(arguments: argparse.Namespace) -> int:
    """Check a newer catalogue whole and put it where `serve` reads it."""
    config, now_ms = config_of(arguments), wall_ms()
    text = read_catalogue(arguments.file, arguments.as_of)
    from_ms = (instant(arguments.since, now_ms) if arguments.since else now_ms) // 1_000 * 1_000
    _check_order(config, from_ms)
    new = Catalogue(text)
    current = price_book(config)
    if new.as_of < _date(current.as_of_ms) and not arguments.older:
        raise CommandError(
            f"{arguments.file} was read on {new.as_of}, the catalogue in force on "
            f"{_date(current.as_of_ms)}; take a newer file, or write --older"
        )
    target = config.prices.updates / file_name(from_ms)
    _write(target, text)
    print(f"{new.source} as of {new.as_of} holds from {_time(from_ms)} on, in {target}")
    print("a running exporter takes it at its next reload: SIGHUP, or POST /-/reload")
    return 0


def _check_order(config: Config, from_ms: int) -> None:
    """A catalogue that is in force is history; a newer one begins after it."""
    for edition in read_updates(config.prices.updates):
        if from_ms <= edition.from_ms:
            raise CommandError(
                f"a catalogue holds from {_time(edition.from_ms)} on already, and what was "
                "priced with it stays; write a later --from"
            )


def _write(target: Path, text: bytes) -> None:
    """The whole file or nothing, on the disk when this returns."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as handle:
            partial = Path(handle.name)
            try:
                handle.write(text)
                handle.flush()
                os.fsync(handle.fileno())
                partial.chmod(0o644)
                # A link refuses a name that is taken; a rename would replace it.
                target.hardlink_to(partial)
            finally:
                partial.unlink()
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error.strerror}") from None


def _time(at_ms: int) -> str:
    text = datetime.fromtimestamp(at_ms // 1_000, UTC).isoformat()
    return text.removesuffix("T00:00:00+00:00").replace("+00:00", "Z")


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1_000, UTC).date().isoformat()
