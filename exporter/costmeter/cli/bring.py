"""`costmeter import`: usage from before the ledger, as history.

It is in the gauges, the answers and the journal, and never in a counter: an opening
balance. A row's id is the digest of its content, so a file that is imported twice is
booked once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from itertools import islice
from typing import Any

from costmeter.cli.errors import CommandError
from costmeter.cli.pseudonyms import pseudonyms_of
from costmeter.cli.settings import config_of, usd, wall_ms
from costmeter.cli.table import Value, show
from costmeter.cli.trace import Row, mapping_of, read_rows
from costmeter.clock import SystemClock
from costmeter.config import Config
from costmeter.engine.terms import budgets_of, price_book, terms_of
from costmeter.ingest.events import EventReader
from costmeter.ingest.owner import Caller
from costmeter.ingest.window import Window
from costmeter.ledger import upkeep
from costmeter.ledger.booking import Booking
from costmeter.ledger.door import Verdict
from costmeter.ledger.metered import HISTORY_FEED
from costmeter.ledger.store import LedgerError, open_for_writing
from costmeter.ledger.writer import Writer
from costmeter.model import Usage
from costmeter.pricing import PriceBook
from costmeter.pricing.providers import ALIASES
from costmeter.tally import Tally

_AT_ONCE = 1_000
#: How old imported usage may be.
_DAYS = 36_500
#: Makers by the beginning of a model's name, for files that name no provider.
_MAKERS = {
    "gpt-": "openai", "chatgpt": "openai", "o1": "openai", "o3": "openai", "o4": "openai",
    "text-embedding": "openai", "claude": "anthropic", "gemini": "google",
    "deepseek": "deepseek", "mistral": "mistral", "codestral": "mistral",
    "command": "cohere", "grok": "x-ai",
}  # fmt: skip
#: What tools write where they know no model.
_NO_MODEL = frozenset({"", "none", "null", "nan"})


def bring_in(arguments: argparse.Namespace) -> int:
    config = config_of(arguments)
    mapped = mapping_of(arguments)
    rows = read_rows(arguments.file, mapped)
    report = _Report(price_book(config), arguments.compare)
    events = _Events(arguments)
    if arguments.dry_run:
        for batch, usages in events.batches(rows):
            report.take(batch, usages, [Verdict.ACCEPTED] * len(usages))
    else:
        _book(config, events.batches(rows), report)
    report.print(as_json=arguments.json, problems=events.problems)
    return int(bool(events.problems))


class _Events:
    """Rows as usage records, in batches."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._reader = EventReader(Window(_DAYS, 0), _AT_ONCE)
        self._path = arguments.file
        self._seen: Counter[str] = Counter()
        self.problems: list[str] = []

    def batches(self, rows: Iterator[Row]) -> Iterator[tuple[list[Row], Sequence[Usage]]]:
        while taken := list(islice(rows, _AT_ONCE)):
            body = json.dumps([self._event(row) for row in taken]).encode()
            read = self._reader.read(body, Caller(HISTORY_FEED), wall_ms())
            self.problems += [
                f"{self._path}:{taken[item.place].line}: {item.field}: {item.reason}"
                for item in read.rejections
            ]
            yield [taken[place] for place in read.places], read.items

    def _event(self, row: Row) -> dict[str, Any]:
        event = dict(row.event)
        stamp = datetime.fromtimestamp(row.at_ms // 1_000, UTC)
        stamp = stamp.replace(microsecond=row.at_ms % 1_000 * 1_000)
        event["timestamp"] = stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if not event.get("provider"):
            event["provider"], event["model"] = _provider(str(event.get("model") or ""))
        if "request_id" not in event and "response_id" not in event:
            content = json.dumps([row.event, row.at_ms, dict(row.rest)], sort_keys=True)
            digest = blake2b(content.encode(), digest_size=12).hexdigest()
            self._seen[digest] += 1
            event["request_id"] = f"{digest}-{self._seen[digest]}"
        return event


def _provider(model: str) -> tuple[str, str]:
    """`maker/model`, as gateways write it, or the maker that the name begins with.

    A maker that the price catalogue knows gets its one name there: a file that says
    `gemini/gemini-1.5-pro` here and `gemini-1.5-pro` there names one provider.
    """
    if model.strip().lower() in _NO_MODEL:
        return "unknown", "unknown"
    maker, slash, name = model.partition("/")
    if maker == "accounts" and name.startswith("fireworks/"):
        return "fireworks", model
    if slash and maker != "models":
        return ALIASES.get(maker.lower(), maker), name
    model = name or model
    for start, provider in _MAKERS.items():
        if model.startswith(start):
            return provider, model
    return "unknown", model


def _book(
    config: Config, batches: Iterator[tuple[list[Row], Sequence[Usage]]], report: _Report
) -> None:
    try:
        store = open_for_writing(config.ledger.path, config.ledger.cell_minutes * 60_000)
    except LedgerError as error:
        if "another costmeter" not in str(error):
            raise
        raise CommandError(
            f"{str(error).partition(';')[0]}; stop it for the import, or play the file into it "
            "with 'costmeter replay'"
        ) from None
    try:
        tally, pseudonyms = Tally(), pseudonyms_of(config)
        booking = Booking(store, terms_of(config), report.prices, SystemClock(), tally)
        # As `serve` does: a ledger that is new or was restored must be prepared first.
        upkeep.start(booking, budgets_of(config))
        writer = Writer(booking, tally)
        writer.start()
        try:
            for rows, usages in batches:
                stored = usages if pseudonyms is None else pseudonyms.apply(usages)
                verdicts = writer.import_history(stored).result()
                report.take(rows, usages, verdicts)
                if sys.stderr.isatty():
                    print(f"\r{report.taken} rows", end="", file=sys.stderr, flush=True)
        finally:
            writer.close()
    finally:
        store.close()


class _Report:
    """What was taken, by model, beside the file's own figures.

    The difference is that of the calls that have a price: one without would look as if
    it had cost nothing.
    """

    def __init__(self, prices: PriceBook, compare: str) -> None:
        self.prices = prices
        self.taken = 0
        self._compare = compare
        self._verdicts: Counter[Verdict] = Counter()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._unpriced: Counter[tuple[str, str]] = Counter()
        self._nano: dict[tuple[str, str], int] = defaultdict(int)
        self._theirs: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self._theirs_priced: dict[tuple[str, str], Decimal] = defaultdict(Decimal)

    def take(
        self, rows: Sequence[Row], usages: Sequence[Usage], verdicts: Sequence[Verdict]
    ) -> None:
        self.taken += len(rows)
        self._verdicts.update(verdicts)
        for row, usage in zip(rows, usages, strict=True):
            key = (usage.labels.provider, usage.labels.model)
            rate = self.prices.rate(usage.labels, usage.at_ms, usage.processing, usage.quantities)
            nano = None if rate is None else rate.cost(usage.quantities)
            self._calls[key] += 1
            if nano is None:
                self._unpriced[key] += 1
            else:
                self._nano[key] += nano
            if self._compare:
                figure = self._figure(row)
                self._theirs[key] += figure
                if nano is not None:
                    self._theirs_priced[key] += figure

    def print(self, *, as_json: bool, problems: Sequence[str]) -> None:
        columns = ["provider", "model", "calls", "unpriced", "cost_usd"]
        if self._compare:
            # The file's column may well be called cost_usd, too.
            columns += [f"file_{self._compare}", "difference_percent"]
        rows: list[list[Value]] = []
        for key in sorted(self._calls, key=lambda k: -self._nano[k]):
            priced = self._calls[key] > self._unpriced[key]
            ours = usd(self._nano[key])
            row: list[Value] = [*key, self._calls[key], self._unpriced[key]]
            row.append(ours if priced else None)
            if self._compare:
                theirs = self._theirs_priced[key]
                share = f"{100 * (ours - theirs) / theirs:+z.2f}" if theirs else None
                row += [self._theirs[key], share]
            rows.append(row)
        show(columns, rows, as_json=as_json)
        counts = self._verdicts
        print(
            f"{counts[Verdict.ACCEPTED]} booked, {counts[Verdict.DUPLICATE]} known already, "
            f"{sum(self._unpriced.values())} without a price, {len(problems)} not readable",
            file=sys.stderr,
        )
        for problem in problems[:20]:
            print(problem, file=sys.stderr)

    def _figure(self, row: Row) -> Decimal:
        text = row.rest.get(self._compare)
        if text is None:
            raise CommandError(f"the file has no column {self._compare!r} to compare with")
        try:
            amount = Decimal(text or 0)
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite():
            raise CommandError(f"line {row.line}: {text!r} is no amount of USD")
        return amount
