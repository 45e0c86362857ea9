"""`costmeter prices diff`: what a file of prices would change."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from costmeter.analysis.estimate import usage_labels
from costmeter.analysis.price_effect import effects
from costmeter.cli.errors import CommandError
from costmeter.cli.prices import per_unit
from costmeter.cli.settings import config_of, usd, wall_ms
from costmeter.cli.table import Value, exact, show
from costmeter.config import Config
from costmeter.engine.terms import contracts_of, price_book
from costmeter.ledger.explain import events_since
from costmeter.ledger.store import open_for_reading
from costmeter.model import MS_PER_DAY, Labels
from costmeter.pricing import PriceBook, load_price_book
from costmeter.pricing.catalogue import Catalogue
from costmeter.pricing.diff import PriceChange, changes
from costmeter.pricing.incoming import read_catalogue
from costmeter.pricing.lines import is_glob

_EFFECT_DAYS = 30
_GPU = "gpu_compute"
_CHANGE = ("provider", "model", "processing", "class", "above", "old_usd", "new_usd", "percent")
_EFFECT = ("provider", "model", "calls", "changed", "old_usd", "new_usd", "difference_usd")


def diff(arguments: argparse.Namespace) -> int:
    """Prices that would change, and what that is worth on the ledger's last 30 days."""
    config, now_ms = config_of(arguments), wall_ms()
    old = price_book(config)
    new = _with(config, arguments)
    asked = _listed(old, new)
    if not _is_catalogue(arguments.file):
        asked = {labels: None for labels in asked if _named(new, labels)}
    impact: list[Sequence[Value]] = []
    total = 0
    if config.ledger.path.exists():
        with closing(open_for_reading(config.ledger.path)) as store:
            events = list(events_since(store.connection, now_ms - _EFFECT_DAYS * MS_PER_DAY))
        asked |= dict.fromkeys(_priced_by(labels) for labels in {one.labels for one in events})
        for one in effects(new, events):
            total += one.new - one.old
            impact.append(
                (
                    one.provider, one.model, one.calls, one.moved,
                    usd(one.old), usd(one.new), usd(one.new - one.old),
                )
            )  # fmt: skip
    rows = [_change(change) for change in changes(old, new, asked, now_ms)]
    if arguments.json:
        print(json.dumps(_json(rows, impact, total), indent=2))
        return 0
    if rows:
        show(_CHANGE, rows[: arguments.top], as_json=False, places=6)
    else:
        print("no price changes now")
    if len(rows) > arguments.top:
        print(f"and {len(rows) - arguments.top} more; --json shows all of them")
    print()
    if impact:
        show(_EFFECT, impact, as_json=False)
    how = "had it held all that time" if _is_catalogue(arguments.file) else "by its dates"
    print(f"on the last {_EFFECT_DAYS} days of the ledger, {how}: {usd(total):+,.4f} USD")
    return 0


def _is_catalogue(path: Path) -> bool:
    return path.suffix not in (".yml", ".yaml")


def _with(config: Config, arguments: argparse.Namespace) -> PriceBook:
    """The book with the file in it: one more price file, or another catalogue.

    A catalogue stands in for all time here: from now on it would change nothing of the past,
    and nobody could see what it is worth.
    """
    path: Path = arguments.file
    if not _is_catalogue(path):
        return load_price_book(
            (*config.prices.files, path), config.prices.updates, contracts=contracts_of(config)
        )
    if arguments.as_of and len(arguments.as_of) != len("2026-11-22"):
        raise CommandError(f"--as-of {arguments.as_of!r} is no date; write 2026-11-22")
    tried = Catalogue(read_catalogue(path, arguments.as_of))
    return load_price_book(config.prices.files, config.prices.updates, tried, contracts_of(config))


def _listed(old: PriceBook, new: PriceBook) -> dict[Labels, None]:
    """Everything that either book names, once."""
    asked = dict.fromkeys(usage_labels(*pair) for pair in (*old.models(), *new.models()))
    for line in new.lines():
        if line.is_gpu and not any(map(is_glob, (line.provider, line.model, line.region))):
            labels = usage_labels(line.provider, line.model, region=line.region)
            service = "" if is_glob(line.instance_type) else line.instance_type
            asked[labels._replace(category=_GPU, service=service, operation=line.purchase)] = None
    return asked


def _named(book: PriceBook, labels: Labels) -> bool:
    """Whether a line of a price file may speak of it: the others cost what they did."""
    provider, model = book.provider_id(labels.provider), labels.model.lower()
    return labels.category == _GPU or any(
        fnmatchcase(provider, line.provider) and fnmatchcase(model, line.model)
        for line in book.lines()
    )


def _priced_by(labels: Labels) -> Labels:
    """Only what a price depends on, so that a model stands once."""
    kept = usage_labels(labels.provider, labels.model, labels.account, labels.region)
    if labels.category != _GPU:
        return kept
    return kept._replace(
        category=labels.category, service=labels.service, operation=labels.operation
    )


def _change(change: PriceChange) -> Sequence[Value]:
    old = None if change.old is None else per_unit(change.unit, usd(change.old))[0]
    new = None if change.new is None else per_unit(change.unit, usd(change.new))[0]
    percent = None
    if change.old and change.new is not None:
        percent = f"{Decimal(100) * (change.new - change.old) / change.old:+.1f}"
    labels = change.labels
    return (
        labels.provider, labels.model, change.processing, change.unit, change.above, old, new,
        percent,
    )  # fmt: skip


def _json(
    rows: Iterable[Sequence[Value]], impact: Iterable[Sequence[Value]], total: int
) -> dict[str, Any]:
    return {
        "prices": [dict(zip(_CHANGE, map(exact, row), strict=True)) for row in rows],
        "effect": [dict(zip(_EFFECT, map(exact, row), strict=True)) for row in impact],
        "effect_days": _EFFECT_DAYS,
        "effect_usd": exact(usd(total)),
    }
