"""Which figures hold for a usage at an instant: catalogue, list and overrides together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import PurePath

from costmeter.model import Labels
from costmeter.pricing.catalogue import EVER_MS, Catalogue, Model
from costmeter.pricing.gpu import (
    GPU_CATEGORY,
    ON_DEMAND,
    canonical_gpu,
    canonical_place,
    listed,
)
from costmeter.pricing.lines import ANY, Facts, Line, Query, best, edges, is_glob, merge
from costmeter.pricing.models import ModelInfo
from costmeter.pricing.overrides import PriceFile
from costmeter.pricing.rates import Figure, Tariff, build_tariff

_Figures = Mapping[str, Figure]


@dataclass(frozen=True, slots=True)
class Found:
    """A tariff (None: unpriced) and the time within which the answer stays the same."""

    from_ms: int
    until_ms: int
    tariff: Tariff | None


class Tariffs:
    """Answers slowly and exactly; the price book remembers the answers."""

    def __init__(
        self, catalogue: Catalogue, gpu: Sequence[Line], files: Sequence[PriceFile]
    ) -> None:
        self._catalogue = catalogue
        self.overrides = _numbered(line for file in files for line in file.llm)
        self._gpu_list = tuple(gpu)
        self._gpu_overrides = _numbered(line for file in files for line in file.gpu)
        self._facts = tuple(facts for file in files for facts in file.models)
        told = [catalogue.revision]
        told += [_told(line) for line in (*self._gpu_list, *self.overrides, *self._gpu_overrides)]
        self.revision = hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
        self._tariffs: dict[str, Tariff] = {}

    def find(self, labels: Labels, at_ms: int, processing: str) -> Found:
        if labels.category == GPU_CATEGORY:
            return self._gpu(labels, at_ms, processing)
        return self._llm(labels, at_ms, processing)

    def _llm(self, labels: Labels, at_ms: int, processing: str) -> Found:
        query = Query(
            provider=self._catalogue.provider_id(labels.provider),
            model=labels.model.lower(),
            account=labels.account,
            region=labels.region.lower(),
            processing=processing,
        )
        lines = [line for line in self.overrides if line.fits(query)]
        from_ms, until_ms = edges(lines, at_ms)
        below: _Figures | None = None
        standard: _Figures | None = None
        identity, source = "", ""
        least: Mapping[str, int] = {}
        if found := self._catalogue.find(labels.provider, labels.model):
            model, own = found
            window = model.window(at_ms, processing if own else "standard")
            below = window.figures if own or processing == "standard" else None
            from_ms, until_ms = max(from_ms, window.from_ms), min(until_ms, window.until_ms)
            standard_window = model.window(at_ms, "standard")
            standard, least = standard_window.figures, model.least
            identity = f"genai:{model.provider}/{model.id}/{window.since}/{processing}"
            source = self._catalogue_source(model, window.since)
            if any(line.of_standard for line in lines):
                from_ms = max(from_ms, standard_window.from_ms)
                until_ms = min(until_ms, standard_window.until_ms)
        line = best(lines, at_ms)
        if line is not None:
            below = merge(line, below, standard)
            identity, source = _told_of(line, query), _source(line, source)
        return Found(from_ms, until_ms, self._tariff(identity, source, below, least))

    def _gpu(self, labels: Labels, at_ms: int, processing: str) -> Found:
        query = Query(
            provider=canonical_place(labels.provider),
            model=canonical_gpu(labels.model),
            account=labels.account,
            region=labels.region.lower(),
            instance_type=labels.service.lower(),
            purchase=labels.operation.lower() or ON_DEMAND,
            processing=processing,
        )
        lines = [line for line in self._gpu_overrides if line.fits(query)]
        from_ms, until_ms = edges([*lines, *self._gpu_list], at_ms)
        base = listed(self._gpu_list, query, at_ms)
        on_demand = listed(self._gpu_list, replace(query, purchase=ON_DEMAND), at_ms)
        below = None if base is None else base.figures
        identity = "" if base is None else _told_of(base, query, "gpu")
        source = "" if base is None else base.source
        line = best(lines, at_ms)
        if line is not None:
            below = merge(line, below, None if on_demand is None else on_demand.figures)
            identity, source = _told_of(line, query), _source(line, source)
        return Found(from_ms, until_ms, self._tariff(identity, source, below, {}))

    def _tariff(
        self, identity: str, source: str, figures: _Figures | None, least: Mapping[str, int]
    ) -> Tariff | None:
        if not figures:
            return None
        tariff = build_tariff(identity, source, figures, least)
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

    def _catalogue_source(self, model: Model, since: str) -> str:
        catalogue = self._catalogue
        dated = "" if since == "start" else f", from {since}"
        return f"{catalogue.source} as of {catalogue.as_of}: {model.provider}/{model.id}{dated}"


def _numbered(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Later files win over earlier ones, so the position counts through all of them."""
    return tuple(replace(line, position=number) for number, line in enumerate(lines))


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


def _told_of(line: Line, query: Query, kind: str = "override") -> str:
    """A line by its patterns, not by the name that met it: names are without end."""
    since = "start"
    if line.from_ms > EVER_MS:
        since = datetime.fromtimestamp(line.from_ms / 1000, UTC).strftime("%Y-%m-%d")
    narrowed = (line.account, line.region, line.instance_type, line.purchase)
    place = ",".join(part for part in narrowed if part != ANY)
    where = f"{line.provider}/{line.model}" + (f"@{place}" if place else "")
    return f"{kind}:{where}/{since}/{query.processing}"


def _source(line: Line, below: str) -> str:
    name = PurePath(line.origin.rpartition(":")[0]).name
    text = f"{line.source} ({name})"
    if line.discount is not None and below:
        text += f", {float((1 - line.discount) * 100):g} % off {below}"
    return text


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
