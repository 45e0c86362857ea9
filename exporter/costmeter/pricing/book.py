"""The price book: catalogue, GPU list, overrides and contracts behind one question.

What does this usage cost, at the price of its own time? A book never changes; after a
change of a price file the caller loads a new one and compares their `revision`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path

from costmeter.model import PROCESSING, Labels, Usage
from costmeter.pricing.catalogue import Catalogue, day_ms, embedded_catalogue
from costmeter.pricing.contracts import Contract
from costmeter.pricing.editions import Edition, Editions, read_updates
from costmeter.pricing.gpu import GPU_CATEGORY
from costmeter.pricing.lines import ANY, NEVER_MS, Line, is_glob
from costmeter.pricing.models import ModelInfo
from costmeter.pricing.overrides import PriceFile, embedded_gpu_prices, load_price_file
from costmeter.pricing.rates import FEE, Rate, Tariff
from costmeter.pricing.tariffs import Found, Tariffs

#: Keys a book remembers. Names come from outside: past this the memory is emptied.
REMEMBERED = 10_000

_of_usage = itemgetter(
    *(Usage._fields.index(name) for name in ("at_ms", "labels", "quantities", "processing"))
)
_gpu_key = itemgetter(
    *(
        Labels._fields.index(name)
        for name in ("provider", "account", "region", "model", "service", "operation")
    )
)

# What is remembered of a key, flat for the batch loop: the time within which it holds and
# the tariff; then, for calls of plain input and output (and cache reads), the rate of a
# small call, the input tokens up to which the shortcut holds, and whole nano-USD a token.
_Slot = tuple[int, int, Tariff, Rate, int, int, int, int, int]

# Comparing one-digit integers of CPython is faster; no call has a billion input tokens,
# and one that had would only take the longer way.
_ANY_SIZE = (1 << 30) - 1
_NO_SHORTCUT = -1


class PriceBook:
    """Prices usage. Thread-safe for readers: what it remembers is only ever added to."""

    def __init__(
        self,
        catalogue: Catalogue | Editions,
        gpu: Sequence[Line] = (),
        files: Sequence[PriceFile] = (),
        remembered: int = REMEMBERED,
        contracts: Sequence[Contract] = (),
    ) -> None:
        self._remembered_keys = remembered
        if isinstance(catalogue, Catalogue):
            catalogue = Editions(catalogue)
        self._catalogue = catalogue
        self._tariffs = Tariffs(catalogue, gpu, files, contracts)
        self.revision: str = self._tariffs.revision
        """Changes when, and only when, a figure or the choice of figures changes."""
        self.as_of_ms: int = day_ms(catalogue.as_of)
        """The newest day on which somebody read the catalogue's prices at their source."""
        self.source: str = catalogue.source
        asked = ["category", "provider", "model"]
        asked += [
            name
            for name in ("account", "region")
            if any(
                getattr(line, name) != ANY
                for line in (*self._tariffs.overrides, *self._tariffs.contracts)
            )
        ]
        self._key = itemgetter(*(Labels._fields.index(name) for name in asked))
        self._slots: dict[str, dict[tuple[str, ...], _Slot]] = {name: {} for name in PROCESSING}
        self._others: dict[tuple[str, tuple[str, ...]], Found] = {}

    def rate(
        self, labels: Labels, at_ms: int, processing: str, quantities: Mapping[str, int]
    ) -> Rate | None:
        """The rate of one call, None where no price is known (unpriced, never free).

        `quantities` decide the tier. A rate may lack a class that the call used: then
        its `cost` is None and the call is unpriced too.
        """
        if (slots := self._slots.get(processing)) is None:
            return None
        slot = slots.get(self._key(labels))
        if slot is not None and slot[0] <= at_ms < slot[1]:
            return slot[2].rate(quantities)
        tariff = self._look_up(labels, at_ms, processing).tariff
        return None if tariff is None else tariff.rate(quantities)

    def price_batch(self, usages: Sequence[Usage]) -> list[tuple[Rate, int] | None]:
        """Rate and total nano-USD of each record, None for one that is unpriced."""
        # The two commonest shapes of a call are spelled out: this loop is what a batch costs.
        out: list[tuple[Rate, int] | None] = []
        slots, key = self._slots, self._key
        for at_ms, labels, quantities, processing in map(_of_usage, usages):
            try:
                since, until, tariff, rate, plain, cached, sent, read, received = slots[processing][
                    key(labels)
                ]
                if since <= at_ms < until:
                    size = len(quantities)
                    if size == 2:
                        tokens = quantities["input"]
                        if tokens <= plain:
                            nano = tokens * sent + quantities["output"] * received
                            out.append((rate, nano))
                            continue
                    elif size == 3:
                        tokens, hits = quantities["input"], quantities["cache_read"]
                        if tokens + hits <= cached:
                            nano = tokens * sent + hits * read + quantities["output"] * received
                            out.append((rate, nano))
                            continue
                    out.append(_total(tariff.rate(quantities), quantities))
                    continue
            except KeyError:
                pass
            found = self.rate(labels, at_ms, processing, quantities)
            out.append(None if found is None else _total(found, quantities))
        return out

    def found(self, labels: Labels, at_ms: int, processing: str) -> Found:
        """The rates by size of the call, and the time within which they hold."""
        return self._look_up(labels, at_ms, processing)

    def models(self) -> list[tuple[str, str]]:
        """(provider, model) of the catalogue, and of price files that name one plainly."""
        named = (
            (line.provider, line.model)
            for line in self._tariffs.overrides
            if not is_glob(line.provider) and not is_glob(line.model)
        )
        return list(dict.fromkeys((*self._catalogue.models(), *named)))

    def lines(self) -> tuple[Line, ...]:
        """What the price files say, calls to models first."""
        return self._tariffs.lines()

    def contracts(self) -> tuple[Contract, ...]:
        """What is agreed with providers, in the order in which it is tried."""
        return tuple(self._tariffs.contracts)

    def contract(self, labels: Labels, at_ms: int) -> Contract | None:
        """The contract that standard processing falls under at an instant."""
        return self._tariffs.contract(labels, at_ms)

    def provider_id(self, name: str) -> str:
        """The id of a provider; an unknown one keeps its name, in lower case."""
        return self._catalogue.provider_id(name)

    def model_info(self, provider: str, model: str) -> ModelInfo | None:
        """What is known of a model beside its price; None for one nobody described."""
        return self._tariffs.model_info(provider, model)

    def _look_up(self, labels: Labels, at_ms: int, processing: str) -> Found:
        if labels.category == GPU_CATEGORY:
            return self._remembered((processing, _gpu_key(labels)), labels, at_ms, processing)
        key = (processing, self._key(labels))
        found = self._remembered(key, labels, at_ms, processing)
        if found.tariff is not None:
            slots = self._slots[processing]
            if len(slots) >= self._remembered_keys:
                slots.clear()
            slots[key[1]] = _slot(found, found.tariff)
        return found

    def _remembered(
        self, key: tuple[str, tuple[str, ...]], labels: Labels, at_ms: int, processing: str
    ) -> Found:
        found = self._others.get(key)
        if found is None or not found.from_ms <= at_ms < found.until_ms:
            found = self._tariffs.find(labels, at_ms, processing)
            if len(self._others) >= self._remembered_keys:
                self._others.clear()
            self._others[key] = found
        return found


def _slot(found: Found, tariff: Tariff) -> _Slot:
    rate = tariff.rates[0]
    sent, read, received = (rate.piece.get(name, -1) for name in ("input", "cache_read", "output"))
    limit = tariff.above[1] if len(tariff.above) > 1 else _ANY_SIZE
    plain = limit if min(sent, received) >= 0 and FEE not in rate.prices else _NO_SHORTCUT
    cached = plain if read >= 0 else _NO_SHORTCUT
    return found.from_ms, found.until_ms, tariff, rate, plain, cached, sent, read, received


def _total(rate: Rate, quantities: Mapping[str, int]) -> tuple[Rate, int] | None:
    try:
        piece, total = rate.piece, rate.fee
        for name, count in quantities.items():
            total += count * piece[name]
        return rate, total
    except KeyError:
        cost = rate.cost(quantities)
        return None if cost is None else (rate, cost)


def load_price_book(
    override_files: Sequence[Path] = (),
    updates: Path | None = None,
    instead: Catalogue | None = None,
    contracts: Sequence[Contract] = (),
) -> PriceBook:
    """The embedded catalogue and GPU list with the files' overrides; later files win.

    `contracts` are laid over these list prices; the first that fits wins.
    `updates` is the folder of newer catalogues, each in force from its own instant on;
    `instead` is tried in place of the newest of them, for all time. PriceFileError for a file
    that cannot be read or says something wrong.
    """
    newer = [] if updates is None else read_updates(updates)
    catalogue = Editions(embedded_catalogue(), newer)
    if instead is not None:
        catalogue = Editions(instead, [Edition(NEVER_MS - 1, catalogue.newest.catalogue)])
    files = [load_price_file(path, catalogue.provider_id) for path in override_files]
    return PriceBook(catalogue, embedded_gpu_prices(), files, contracts=contracts)
