"""Settings that do not go together, found once all of them are read."""

from __future__ import annotations

from collections.abc import Iterator

from costmeter.config import contracts
from costmeter.config.costs import mistakes_of_costs
from costmeter.config.schema import Config
from costmeter.config.scopes import ANY_FEED, CATCH_ALL, Scope
from costmeter.config.serving import mistakes_of_models
from costmeter.config.spec import changed
from costmeter.config.zones import fits_cells

Mistake = tuple[str, str]


def mistakes(config: Config) -> Iterator[Mistake]:
    """Every mistake as (key of the setting, what is wrong and what to write)."""
    yield from _zones(config)
    yield from _scopes(config)
    yield from _admitted(config)
    yield from contracts.mistakes(config.contracts)
    for key, text in config.budgets.mistakes():
        yield f"budgets.{key}", text
    for number, budget in enumerate(config.budgets.items):
        if budget.currency not in ("USD", *_currencies(config)):
            text = f"there is no rate for {budget.currency}; add one under currencies"
            yield f"budgets.items[{number}].currency", text
    for number, source in enumerate(config.sources):
        for key, text in source.mistakes():
            yield f"sources[{number}].{key}", text
    yield from mistakes_of_costs(config)
    if config.ingest.queue_events < config.ingest.max_events:
        text = f"{config.ingest.queue_events} has no room for one body of ingest.max_events"
        yield "ingest.queue_events", f"{text} ({config.ingest.max_events}); write more"
    yield from mistakes_of_models(config.serving)
    for key, text in config.gpu.mistakes():
        yield f"gpu.{key}", text


def _currencies(config: Config) -> set[str]:
    """Those with a rate; a file of rates may have any."""
    currencies = config.currencies
    named = {one.currency for one in currencies.rates}
    if currencies.rates_file is not None:
        named |= {budget.currency for budget in config.budgets.items}
    return named


def _zones(config: Config) -> Iterator[Mistake]:
    ledger = config.ledger
    named = [("ledger.reporting_timezone", ledger.reporting_timezone)]
    named += [
        (f"budgets.items[{number}].timezone", budget.timezone)
        for number, budget in enumerate(config.budgets.items)
        if budget.timezone not in ("", ledger.reporting_timezone)
    ]
    for key, zone in named:
        if not fits_cells(zone, ledger.cell_minutes):
            text = f"days in {zone} do not begin on a full hour UTC, as this ledger's cells do"
            yield key, f"{text}; create the ledger with ledger.cell_minutes: 15, or change the zone"


def _scopes(config: Config) -> Iterator[Mistake]:
    before: Scope | None = None
    for number, scope in enumerate(config.scopes):
        key = f"scopes[{number}]"
        if before is not None:
            yield key, f"can never match: '{before.name}' before it takes everything; move it up"
        elif scope.match.everything:
            before = scope
        if scope.name == CATCH_ALL and not scope.match.everything:
            text = f"'{CATCH_ALL}' is the name of the scope that takes the rest"
            yield f"{key}.name", f"{text}; write another name, or remove match"


def _admitted(config: Config) -> Iterator[Mistake]:
    limits = config.series.per_label.by_label()
    for label, values in config.series.admit.by_label().items():
        if len(values) > limits[label]:
            text = f"{len(values)} values are more than series.per_label.{label} lets in"
            yield f"series.admit.{label}", f"{text} ({limits[label]}); raise it or list fewer"


def completed(config: Config) -> Config:
    """The configuration with what it leaves to other settings filled in.

    Budgets and jobs without a time zone get the ledger's; scopes end in a catch-all;
    extra labels stand in the order in which the metrics carry them.
    """
    ledger = config.ledger
    labels = tuple(name for name in ("team", "feature") if name in ledger.extra_labels)
    items = tuple(
        changed(budget, timezone=budget.timezone or ledger.reporting_timezone)
        for budget in config.budgets.items
    )
    scopes = config.scopes
    if not any(scope.match.everything for scope in scopes):
        scopes = (*scopes, Scope(CATCH_ALL, detail_from=ANY_FEED))
    return changed(
        config,
        ledger=changed(ledger, extra_labels=labels),
        budgets=changed(config.budgets, items=items),
        scopes=scopes,
        jobs=changed(config.jobs, timezone=config.jobs.timezone or ledger.reporting_timezone),
    )
