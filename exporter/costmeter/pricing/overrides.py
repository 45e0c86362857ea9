"""Price files: the GPU list of the package and what a user adds or corrects.

Both have one shape, `prices:` and `models:`; docs/pricing.md describes it. Every error
names file, line and key and says what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from costmeter.model import (
    PIECES_PER_PRICED_UNIT,
    PROCESSING,
    TOKEN_CLASSES,
    UNIT_CLASSES,
    half_even,
)
from costmeter.pricing.amounts import amounts, nano_of
from costmeter.pricing.errors import PriceFileError
from costmeter.pricing.facts import Facts, read_facts
from costmeter.pricing.gpu import (
    GPU_CATEGORY,
    ON_DEMAND,
    ON_PREMISES,
    canonical_gpu,
    canonical_place,
    is_known_gpu,
)
from costmeter.pricing.lines import ANY, EVER_MS, NEVER_MS, Line, is_glob
from costmeter.pricing.nodes import Entry, document
from costmeter.pricing.own import own_figures
from costmeter.pricing.rates import GPU_MS, Figure

_PRICE_KEYS = (
    "provider",
    "model",
    "account",
    "region",
    "instance_type",
    "purchase",
    "category",
    "processing",
    "from",
    "to",
    "source",
    "as_of",
    "usd_per_million",
    "usd_per_unit",
    "usd_per_hour",
    "tiers",
    "gpus",
    "own",
    "discount_percent",
    "of",
    "free",
)
_PER_MILLION = (*TOKEN_CLASSES, "cache_write", "input_characters", "input_pixels")
_PER_HOUR = {
    "gpu": GPU_MS,
    "machine": GPU_MS,
    "audio": "audio_ms",
    "input_audio": "input_audio_ms",
    "output_audio": "output_audio_ms",
    "cpu_core": "cpu_core_ms",
    "memory_gib": "memory_mib_ms",
}
_PER_UNIT = {
    **{name: name for name in UNIT_CLASSES if name not in PIECES_PER_PRICED_UNIT},
    # A month has 730 hours, a GB 10^9 bytes.
    "storage_gib_month": "storage_mib_ms",
    "network_gb": "network_bytes",
}
_PURCHASES = (ON_DEMAND, "spot", "reserved", "any")


@dataclass(frozen=True, slots=True)
class PriceFile:
    """What one file says. `gpu` and `llm` are apart because their names are."""

    llm: tuple[Line, ...] = ()
    gpu: tuple[Line, ...] = ()
    models: tuple[Facts, ...] = ()


def read_price_file(
    file: str, text: str, provider_id: Callable[[str], str], *, dated: bool = False
) -> PriceFile:
    """Reads the text of one price file; `file` is how errors and sources call it.

    `provider_id` turns a provider's alias into its id. `dated` asks for `as_of` on every
    line, which is the rule for lists that are shipped. PriceFileError for any mistake.
    """
    root = document(file, text)
    if root is None:
        return PriceFile()
    fields = root.fields(("prices", "models"))
    prices = fields["prices"].items() if "prices" in fields else ()
    lines = [_Reader(entry, provider_id, dated).line(number) for number, entry in enumerate(prices)]
    models = fields["models"].items() if "models" in fields else ()
    return PriceFile(
        llm=tuple(line for line in lines if not line.is_gpu),
        gpu=tuple(line for line in lines if line.is_gpu),
        models=tuple(read_facts(entry, provider_id) for entry in models),
    )


def load_price_file(path: Path, provider_id: Callable[[str], str]) -> PriceFile:
    """Reads a user's price file. PriceFileError for one that cannot be read, too."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise PriceFileError(
            str(path), 1, "file", f"cannot be read ({reason}); name a readable YAML file"
        ) from None
    return read_price_file(str(path), text, provider_id)


def embedded_gpu_prices() -> tuple[Line, ...]:
    """The dated GPU list that the package carries."""
    # Not importlib.resources: it costs a GPU's node 10 ms.
    text = (Path(__file__).parent / "data" / "gpu_prices.yml").read_text(encoding="utf-8")
    return read_price_file("gpu_prices.yml", text, str.lower, dated=True).gpu


class _Reader:
    """Reads one entry of `prices:`."""

    def __init__(self, entry: Entry, provider_id: Callable[[str], str], dated: bool) -> None:
        self.entry, self.provider_id = entry, provider_id
        self.fields = entry.fields(_PRICE_KEYS)
        for key in ("provider", "model", "source", *(("as_of",) if dated else ())):
            if key not in self.fields:
                why = {"source": "where the price comes from", "as_of": "the day it was read"}
                entry.refuse(f"has no {key}; write {key}: {why.get(key, f'the {key}')}")

    def line(self, position: int) -> Line:
        fields = self.fields
        figures = self._figures()
        gpu = self._is_gpu(figures)
        discount = self._discount()
        free = "free" in fields and fields["free"].flag()
        given = [bool(figures) or discount is not None, free]
        if not any(given):
            self.entry.refuse(
                "has no price; write usd_per_million, usd_per_unit, usd_per_hour, own, "
                "discount_percent or free: true"
            )
        if all(given):
            fields["free"].refuse("stands beside a price; write free: true alone, or drop it")
        from_ms = fields["from"].instant_ms() if "from" in fields else EVER_MS
        until_ms = fields["to"].instant_ms() if "to" in fields else NEVER_MS
        if until_ms <= from_ms:
            fields["to"].refuse("is not after from; write a later date, `to` itself is excluded")
        source = fields["source"].text()
        if "as_of" in fields:
            fields["as_of"].instant_ms()
            source += f", as of {fields['as_of'].text()}"
        return Line(
            origin=self.entry.origin,
            source=source,
            provider=self._provider(gpu),
            model=self._model(gpu),
            account=self._pattern("account", lower=False),
            region=self._pattern("region"),
            instance_type=self._pattern("instance_type"),
            purchase=self._purchase() if gpu else ANY,
            processing=self._processing(gpu),
            from_ms=from_ms,
            until_ms=until_ms,
            figures=figures,
            discount=discount,
            of_standard="of" in fields and bool(fields["of"].choice(("standard", ON_DEMAND))),
            free=free,
            is_gpu=gpu,
            position=position,
        )

    def _figures(self) -> dict[str, Figure]:
        fields = self.fields
        out: dict[str, Figure] = {}
        if "usd_per_million" in fields:
            out.update(amounts(fields["usd_per_million"], _PER_MILLION, 1))
        if "usd_per_unit" in fields:
            priced = amounts(fields["usd_per_unit"], tuple(_PER_UNIT), 10**6)
            out.update({_PER_UNIT[name]: nano for name, nano in priced.items()})
        if "usd_per_hour" in fields:
            out.update(self._hourly(fields["usd_per_hour"]))
        if "own" in fields:
            out.update(own_figures(fields["own"], self._gpus(), hourly=GPU_MS in out))
        if "tiers" in fields:
            self._tiers(fields["tiers"], out)
        return out

    def _gpus(self) -> int:
        gpus = self.fields["gpus"].integer() if "gpus" in self.fields else 1
        if gpus < 1:
            self.fields["gpus"].refuse("is not a count; write how many GPUs the machine has")
        return gpus

    def _hourly(self, entry: Entry) -> dict[str, int]:
        named = entry.fields(_PER_HOUR)
        gpus = self._gpus()
        if "machine" in named and "gpu" in named:
            named["gpu"].refuse("stands beside machine; write one of the two")
        if "machine" in named and "gpus" not in self.fields:
            named["machine"].refuse("needs to know the GPUs in it; write gpus: 8 beside it")
        out = {}
        for name, amount in named.items():
            nano = nano_of(amount, 10**6)
            out[_PER_HOUR[name]] = half_even(nano, gpus) if name == "machine" else nano
        return out

    def _tiers(self, entry: Entry, figures: dict[str, Figure]) -> None:
        steps: dict[str, list[tuple[int, int]]] = {}
        last = 0
        for tier in entry.items():
            fields = tier.fields(("above_input_tokens", "usd_per_million"))
            for key in ("above_input_tokens", "usd_per_million"):
                if key not in fields:
                    tier.refuse(f"has no {key}; write both above_input_tokens and usd_per_million")
            above = fields["above_input_tokens"].integer()
            if above <= last:
                fields["above_input_tokens"].refuse("is not above the tier before; sort the tiers")
            last = above
            for name, nano in amounts(fields["usd_per_million"], _PER_MILLION, 1).items():
                if name not in figures:
                    tier.refuse(
                        f"prices {name}, which has no base price; add it in usd_per_million"
                    )
                steps.setdefault(name, []).append((above, nano))
        for name, found in steps.items():
            base = figures[name]
            if isinstance(base, int):
                figures[name] = (base, tuple(found))

    def _discount(self) -> Fraction | None:
        if "discount_percent" not in self.fields:
            if "of" in self.fields:
                self.fields["of"].refuse("belongs to discount_percent; add that, or drop of")
            return None
        entry = self.fields["discount_percent"]
        percent = entry.number()
        if percent >= 100:
            entry.refuse(f"{percent} is not below 100; write free: true for what costs nothing")
        return 1 - Fraction(percent) / 100

    def _is_gpu(self, figures: Mapping[str, Figure]) -> bool:
        fields = self.fields
        if "category" in fields:
            category = fields["category"].choice((GPU_CATEGORY, "llm_api"))
            if category == "llm_api" and GPU_MS in figures:
                fields["category"].refuse(f"prices a GPU; write {GPU_CATEGORY} or drop category")
            return category == GPU_CATEGORY
        if figures:
            return GPU_MS in figures
        if "instance_type" in fields or "purchase" in fields:
            return True
        at_home = canonical_place(fields["provider"].text()) == ON_PREMISES
        return at_home and is_known_gpu(fields["model"].text())

    def _provider(self, gpu: bool) -> str:
        text = self.fields["provider"].text().strip().lower()
        if is_glob(text):
            return text
        return canonical_place(text) if gpu else self.provider_id(text)

    def _model(self, gpu: bool) -> str:
        text = self.fields["model"].text().strip().lower()
        return canonical_gpu(text) if gpu and not is_glob(text) else text

    def _pattern(self, key: str, lower: bool = True) -> str:
        if key not in self.fields:
            return ANY
        text = self.fields[key].text().strip()
        return text.lower() if lower else text

    def _purchase(self) -> str:
        if "purchase" not in self.fields:
            return ON_DEMAND
        purchase = self.fields["purchase"].choice(_PURCHASES)
        return ANY if purchase == "any" else purchase

    def _processing(self, gpu: bool) -> str:
        if "processing" not in self.fields:
            return ANY if gpu else "standard"
        processing = self.fields["processing"].choice((*PROCESSING, "any"))
        return ANY if processing == "any" else processing
