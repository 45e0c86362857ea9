"""The compiled catalogue of model prices: lookup by name, figures at an instant.

Loaded whole, decoded late: a model's match rule is read when its provider is first
asked for, its prices when it is first priced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from costmeter.model import MS_PER_DAY
from costmeter.pricing import lines
from costmeter.pricing.match import FirstMatch, predicate, with_dashed_date
from costmeter.pricing.providers import ALIASES, GATEWAYS
from costmeter.pricing.rates import Figure, figure_of

EVER_MS, NEVER_MS = lines.EVER_MS, lines.NEVER_MS


class RawModel(msgspec.Struct, frozen=True, gc=False):
    id: str
    match: msgspec.Raw
    prices: msgspec.Raw
    variants: msgspec.Raw = msgspec.Raw(b"[]")
    name: str = ""
    context_window: int | None = None
    deprecated: bool = False
    least: dict[str, int] = {}


class RawProvider(msgspec.Struct, frozen=True):
    id: str
    provider_match: dict[str, Any] | None
    model_match: dict[str, Any] | None
    fallback: list[str]
    models: list[RawModel]


class RawCatalogue(msgspec.Struct, frozen=True):
    source: str
    as_of: str
    figures: str
    providers: list[RawProvider]


class RawPrices(msgspec.Struct, frozen=True):
    usd: dict[str, int | list[int | list[int]]]
    since: str = msgspec.field(default="", name="from")
    hours: list[str] = []
    processing: str = "standard"


class Constraint:
    """When a set of figures applies: from a day on, or within hours of every day (UTC)."""

    def __init__(self, raw: RawPrices) -> None:
        self.since_ms = day_ms(raw.since) if raw.since else None
        self.hours = tuple(_clock_ms(text) for text in raw.hours)

    def active(self, at_ms: int) -> bool:
        if self.since_ms is not None:
            return at_ms >= self.since_ms
        if self.hours:
            start, end = self.hours
            clock = at_ms % MS_PER_DAY
            return start <= clock < end if start <= end else clock >= start or clock < end
        return True

    def edges(self, at_ms: int) -> list[int]:
        """Instants around `at_ms` at which `active` may change."""
        if self.since_ms is not None:
            return [self.since_ms]
        midnight = at_ms - at_ms % MS_PER_DAY
        days = (midnight - MS_PER_DAY, midnight, midnight + MS_PER_DAY)
        return [day + clock for day in days for clock in self.hours]


class Window:
    """Figures and the time within which they do not change (`from_ms` <= t < `until_ms`)."""

    __slots__ = ("figures", "from_ms", "since", "until_ms")

    def __init__(
        self, from_ms: int, until_ms: int, figures: Mapping[str, Figure] | None, since: str
    ) -> None:
        self.from_ms, self.until_ms, self.figures, self.since = from_ms, until_ms, figures, since


class Model:
    """A model of the catalogue with its dated figures."""

    def __init__(self, provider: str, raw: RawModel) -> None:
        self.provider, self.raw = provider, raw
        self.id, self.least = raw.id, raw.least

    @cached_property
    def _standard(self) -> list[tuple[Constraint, Mapping[str, Figure]]]:
        return [self._decoded(one) for one in _DATED.decode(self.raw.prices)]

    @cached_property
    def _variants(self) -> list[tuple[str, Constraint, Mapping[str, Figure]]]:
        return [(one.processing, *self._decoded(one)) for one in _DATED.decode(self.raw.variants)]

    @staticmethod
    def _decoded(raw: RawPrices) -> tuple[Constraint, Mapping[str, Figure]]:
        return Constraint(raw), {name: figure_of(value) for name, value in raw.usd.items()}

    def window(self, at_ms: int, processing: str) -> Window:
        """The figures at an instant; None where the catalogue knows none for `processing`.

        The last active entry gives the standard figures, the first entry when none is
        active. A variant replaces figures key by key, the first active one first. A
        processing without an active variant has no price: the standard one is not it.
        """
        variants = [one for one in self._variants if one[0] == processing]
        figures: dict[str, Figure] | None = dict(self._standard[0][1])
        for constraint, prices in reversed(self._standard):
            if constraint.active(at_ms):
                figures = dict(prices)
                break
        if processing != "standard":
            own: dict[str, Figure] = {}
            for _, constraint, prices in variants:
                if constraint.active(at_ms):
                    own = {**prices, **own}
            figures = {**(figures or {}), **own} if own else None
        constraints = [one[0] for one in self._standard] + [one[1] for one in variants]
        edges = [edge for constraint in constraints for edge in constraint.edges(at_ms)]
        from_ms = max((edge for edge in edges if edge <= at_ms), default=EVER_MS)
        until_ms = min((edge for edge in edges if edge > at_ms), default=NEVER_MS)
        hourly = any(constraint.hours for constraint in constraints)
        return Window(from_ms, until_ms, figures, _since(from_ms, hourly))


class Provider:
    """A provider's models in the catalogue's order; the first that fits is meant."""

    def __init__(self, raw: RawProvider) -> None:
        self.id, self.fallback = raw.id, raw.fallback
        self._raw = raw
        self.known_as = predicate(raw.provider_match) if raw.provider_match else None
        self.speaks_for = predicate(raw.model_match) if raw.model_match else None
        self._models: dict[int, Model] = {}

    @cached_property
    def _index(self) -> FirstMatch:
        decode = msgspec.json.decode
        return FirstMatch(decode(model.match) for model in self._raw.models)

    @property
    def model_ids(self) -> list[str]:
        return [model.id for model in self._raw.models]

    def find(self, name: str) -> Model | None:
        position = self._index.find(name)
        if position is None:
            return None
        if position not in self._models:
            self._models[position] = Model(self.id, self._raw.models[position])
        return self._models[position]


class Catalogue:
    """Every provider; `source`, `as_of` and `revision` describe the data as a whole."""

    def __init__(self, text: bytes) -> None:
        raw = msgspec.json.decode(text, type=RawCatalogue)
        self.source, self.as_of, self.revision = raw.source, raw.as_of, raw.figures
        self._providers = {one.id: Provider(one) for one in raw.providers}

    def models(self) -> Iterator[tuple[str, str]]:
        """(provider, model) of every entry, in the catalogue's order."""
        for provider in self._providers.values():
            for model_id in provider.model_ids:
                yield provider.id, model_id

    def provider(self, name: str) -> Provider | None:
        """A provider by id, alias or the catalogue's own rule; the case does not matter."""
        wanted = name.strip().lower()
        wanted = ALIASES.get(wanted, wanted)
        if exact := self._providers.get(wanted):
            return exact
        for provider in self._providers.values():
            if provider.known_as is not None and provider.known_as(wanted):
                return provider
        return None

    def provider_id(self, name: str) -> str:
        """The id of a provider; an unknown one keeps its name, in lower case."""
        found = self.provider(name)
        return found.id if found is not None else name.strip().lower()

    def find(self, provider: str, model: str) -> tuple[Model, bool] | None:
        """The model, and whether the provider sells it under prices of its own."""
        name = model.lower()
        if provider.strip().lower() in GATEWAYS:
            return self._behind_gateway(name)
        home = self.provider(provider)
        return None if home is None else self._within(home, name)

    def _behind_gateway(self, name: str) -> tuple[Model, bool] | None:
        prefix, slash, rest = name.partition("/")
        if slash and prefix and (home := self.provider(prefix)):
            return self._within(home, rest)
        for home in self._providers.values():
            if home.speaks_for is not None and home.speaks_for(name):
                return self._within(home, name)
        return None

    def _within(self, home: Provider, name: str) -> tuple[Model, bool] | None:
        for spelled in dict.fromkeys((name, with_dashed_date(name))):
            if model := home.find(spelled):
                return model, True
            for other in home.fallback:
                seller = self._providers.get(other)
                if seller is not None and (model := seller.find(spelled)):
                    return model, False
        return None


_DATED = msgspec.json.Decoder(list[RawPrices])


def embedded_catalogue() -> Catalogue:
    """The catalogue that the package carries."""
    # Not importlib.resources: it costs every start 10 ms.
    return Catalogue((Path(__file__).parent / "data" / "llm_prices.json").read_bytes())


def day_ms(text: str) -> int:
    """Midnight UTC of `YYYY-MM-DD` in Unix milliseconds."""
    return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * 1000


def _clock_ms(text: str) -> int:
    hours, minutes, seconds = (int(part) for part in text.split(":"))
    return ((hours * 60 + minutes) * 60 + seconds) * 1000


def _since(from_ms: int, hourly: bool) -> str:
    if from_ms == EVER_MS:
        return "start"
    if hourly:
        # The hours return every day: an id with the day would name equal figures anew.
        clock = from_ms % MS_PER_DAY // 60_000
        return f"daily{clock // 60:02d}{clock % 60:02d}"
    return datetime.fromtimestamp(from_ms / 1000, UTC).date().isoformat()
