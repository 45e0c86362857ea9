"""Which figures hold for a usage at an instant: catalogue, list and overrides together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

from costmeter.model import Labels
from costmeter.pricing.cards import AtList, Cards, card_query, numbered, source_of, told_of
from costmeter.pricing.contracts import STANDARD, Contract, Contracts
from costmeter.pricing.editions import Editions, Listed
from costmeter.pricing.facts import Facts
from costmeter.pricing.gpu import GPU_CATEGORY, canonical_gpu, canonical_place
from costmeter.pricing.lines import Line, Query, best, edges, is_glob, merge
from costmeter.pricing.models import ModelInfo
from costmeter.pricing.overrides import PriceFile
from costmeter.pricing.rates import GPU_MS, Figure, Tariff, build_tariff

_Figures = Mapping[str, Figure]


class Found(Struct, frozen=True):
    """A tariff (None: unpriced) and the time within which the answer stays the same."""

    from_ms: int
    until_ms: int
    tariff: Tariff | None


class Tariffs:
    """Answers slowly and exactly; the price book remembers the answers."""

    def __init__(
        self,
        catalogue: Editions,
        gpu: Sequence[Line],
        files: Sequence[PriceFile],
        contracts: Sequence[Contract] = (),
    ) -> None:
        self._catalogue = catalogue
        self.overrides = numbered(line for file in files for line in file.llm)
        self._cards = Cards(gpu, numbered(line for file in files for line in file.gpu))
        self._facts = tuple(facts for file in files for facts in file.models)
        self.contracts = Contracts(tuple(_of_models(contracts, catalogue.provider_id)))
        self._gpu_contracts = Contracts(tuple(_of_cards(contracts)))
        told = [catalogue.revision, *(one.told for one in self.contracts)]
        told += [
            _told(line) for line in (*self._cards.lines, *self.overrides, *self._cards.overrides)
        ]
        self.revision = hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
        self._tariffs: dict[str, Tariff] = {}

    def lines(self) -> tuple[Line, ...]:
        """The lines of the price files."""
        return (*self.overrides, *self._cards.overrides)

    def find(self, labels: Labels, at_ms: int, processing: str) -> Found:
        if labels.category == GPU_CATEGORY:
            return self._gpu(labels, at_ms, processing)
        return self._llm(labels, at_ms, processing)

    def contract(self, labels: Labels, at_ms: int) -> Contract | None:
        """The contract that usage falls under at an instant, by standard processing."""
        if labels.category == GPU_CATEGORY:
            return self._gpu_contracts.find(_gpu_query(labels, STANDARD), at_ms)[0]
        return self.contracts.find(self._llm_query(labels, STANDARD), at_ms)[0]

    def _llm_query(self, labels: Labels, processing: str) -> Query:
        return Query(
            provider=self._catalogue.provider_id(labels.provider),
            model=labels.model.lower(),
            account=labels.account,
            region=labels.region.lower(),
            processing=processing,
        )

    def _llm(self, labels: Labels, at_ms: int, processing: str) -> Found:
        query = self._llm_query(labels, processing)
        lines = [line for line in self.overrides if line.fits(query)]
        from_ms, until_ms = edges(lines, at_ms)
        below: _Figures | None = None
        standard: _Figures | None = None
        identity, source = "", ""
        least: Mapping[str, int] = {}
        if found := self._catalogue.listed(labels.provider, labels.model, at_ms, processing):
            below, standard, model = found.figures, found.standard, found.model
            from_ms, until_ms = max(from_ms, found.from_ms), min(until_ms, found.until_ms)
            least = model.least
            identity = f"genai:{model.provider}/{model.id}/{found.since}/{processing}"
            source = _catalogue_source(found)
        line = best(lines, at_ms)
        if line is not None:
            below = merge(line, below, standard)
            identity, source = told_of(line, query), source_of(line, source)
        found_list = AtList(identity, source, below, least, from_ms, until_ms)
        return self._contracted(self.contracts, query, at_ms, found_list)

    def _gpu(self, labels: Labels, at_ms: int, processing: str) -> Found:
        query = _gpu_query(labels, processing)
        return self._contracted(
            self._gpu_contracts, query, at_ms, self._cards.at_list(query, at_ms)
        )

    def _contracted(self, contracts: Contracts, query: Query, at_ms: int, at_list: AtList) -> Found:
        """What a contract makes of list prices, else these."""
        identity, source, figures, least, from_ms, until_ms = at_list
        contract, since_ms, ends_ms = contracts.find(query, at_ms)
        from_ms, until_ms = max(from_ms, since_ms), min(until_ms, ends_ms)
        agreed = None if contract is None else contract.over(figures, query.processing)
        # Prices of tokens alone are none of a card.
        if agreed is not None and contracts is self._gpu_contracts and GPU_MS not in agreed:
            agreed = None
        if contract is None or agreed is None:
            return Found(from_ms, until_ms, self._tariff(identity, source, figures, least))
        identity = contract.identity(identity, query)
        source = contract.source + (f", list: {source}" if source else "")
        return Found(from_ms, until_ms, self._tariff(identity, source, agreed, least, figures))

    def _tariff(
        self,
        identity: str,
        source: str,
        figures: _Figures | None,
        least: Mapping[str, int],
        listed: _Figures | None = None,
    ) -> Tariff | None:
        if not figures:
            return None
        tariff = build_tariff(identity, source, figures, least, listed)
        key = tariff.rates[0].rate_id + source
        known = self._tariffs.get(key)
        if known != tariff:
            self._tariffs[key] = known = tariff
        return known

    def model_info(self, provider: str, model: str) -> ModelInfo | None:
        home, name = self._catalogue.provider_id(provider), model.lower()
        found = self._catalogue.find(provider, model)
        info = ModelInfo(home, model, model, "")
        if found is not None:
            raw = found[0].raw
            info = ModelInfo(
                provider=home,
                model=model,
                name=raw.name or raw.id,
                catalogue_id=f"{found[0].provider}/{raw.id}",
                context_window=raw.context_window,
                deprecated=raw.deprecated,
            )
        said = [
            facts
            for facts in self._facts
            if fnmatchcase(home, facts.provider) and fnmatchcase(name, facts.model)
        ]
        if found is None and not said:
            return None
        for facts in sorted(said, key=_plainness):
            info = _with(info, facts)
        return info


def _gpu_query(labels: Labels, processing: str) -> Query:
    return card_query(
        labels.provider, labels.model, labels.account, labels.region, labels.service,
        labels.operation, processing,
    )  # fmt: skip


def _of_models(
    contracts: Iterable[Contract], provider_id: Callable[[str], str]
) -> Iterable[Contract]:
    """Contracts in the words of usage of models."""
    for one in contracts:
        provider = one.provider.strip().lower()
        yield replace(
            one,
            provider=provider if is_glob(provider) else provider_id(provider),
            model=one.model.lower(),
            region=one.region.lower(),
        )


def _of_cards(contracts: Iterable[Contract]) -> Iterable[Contract]:
    """The same in the words of usage of GPUs."""
    for one in contracts:
        provider = one.provider.strip().lower()
        yield replace(
            one,
            provider=provider if is_glob(provider) else canonical_place(provider),
            model=one.model.lower() if is_glob(one.model) else canonical_gpu(one.model),
            region=one.region.lower(),
        )


def _told(line: Line) -> str:
    """Everything of a line that decides a price, and nothing that does not."""
    figures = sorted(line.figures.items())
    chosen = (line.from_ms, line.until_ms, line.discount, line.of_standard, line.free)
    return repr((_asked(line), figures, chosen))


def _asked(line: Line) -> tuple[str, ...]:
    return (
        line.provider,
        line.model,
        line.account,
        line.region,
        line.instance_type,
        line.purchase,
        line.processing,
    )


def _catalogue_source(found: Listed) -> str:
    catalogue, model = found.catalogue, found.model
    dated = "" if found.since == "start" else f", from {found.since}"
    return f"{catalogue.source} as of {catalogue.as_of}: {model.provider}/{model.id}{dated}"


def _plainness(facts: Facts) -> int:
    return sum(not is_glob(pattern) for pattern in (facts.provider, facts.model))


def _with(info: ModelInfo, facts: Facts) -> ModelInfo:
    return replace(
        info,
        name=facts.name or info.name,
        context_window=facts.context_window or info.context_window,
        deprecated=info.deprecated or facts.deprecated_ms is not None,
        deprecated_ms=facts.deprecated_ms or info.deprecated_ms,
        replacement=facts.replacement or info.replacement,
    )
