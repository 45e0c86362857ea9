"""Compiles the genai-prices catalogue into `data/llm_prices.json`.

    python -m costmeter.pricing.compile            write the file
    python -m costmeter.pricing.compile --check    exit 1 when it is not what would be written

The only module that imports genai-prices, and it does so late: the exporter runs
without it. A price key, a match rule or a request context that this program does not
know stops it, so that nothing of a new catalogue is lost in silence; what is left out
on purpose is named in `OMITTED_KEYS` and `OMITTED_CONTEXTS` and listed in the file.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "data" / "llm_prices.json"

#: Our key and the priced units in one unit of the catalogue's price (tokens are priced
#: by the million, calls by the thousand, audio by the hour, which is our unit too).
PRICE_KEYS: Mapping[str, tuple[str, int]] = {
    "input_mtok": ("input", 1_000_000),
    "output_mtok": ("output", 1_000_000),
    "cache_read_mtok": ("cache_read", 1_000_000),
    "cache_write_mtok": ("cache_write", 1_000_000),
    "cache_write_5m_mtok": ("cache_write_5m", 1_000_000),
    "cache_write_1h_mtok": ("cache_write_1h", 1_000_000),
    "output_reasoning_mtok": ("reasoning", 1_000_000),
    "input_audio_mtok": ("input_audio", 1_000_000),
    "cache_audio_read_mtok": ("cache_read_audio", 1_000_000),
    "output_audio_mtok": ("output_audio", 1_000_000),
    "input_image_mtok": ("input_image", 1_000_000),
    "cache_image_read_mtok": ("cache_read_image", 1_000_000),
    "output_image_mtok": ("output_image", 1_000_000),
    "input_video_mtok": ("input_video", 1_000_000),
    "cache_video_read_mtok": ("cache_read_video", 1_000_000),
    "output_video_mtok": ("output_video", 1_000_000),
    "web_searches_kcount": ("web_searches", 1_000),
    "social_searches_kcount": ("social_searches", 1_000),
    "storage_searches_kcount": ("storage_searches", 1_000),
    "code_executions_kcount": ("code_executions", 1_000),
    "rerank_searches_kcount": ("rerank_searches", 1_000),
    "input_mchars": ("input_characters", 1_000_000),
    "input_text_messages_kcount": ("input_messages", 1_000),
    "input_gpixels": ("input_pixels", 1_000_000_000),
    "input_document_kpages": ("input_pages", 1_000),
    "input_annotated_document_kpages": ("annotated_pages", 1_000),
    "audio_hours": ("audio_ms", 1),
    "input_audio_hours": ("input_audio_ms", 1),
    "output_audio_hours": ("output_audio_ms", 1),
    "requests_kcount": ("requests", 1_000),
}

#: Priced by the catalogue, counted by no class of ours.
OMITTED_KEYS = {"output_citation_mtok": "citation tokens are counted as output"}

#: What the catalogue's request context says for each of our processing values.
CONTEXTS: Mapping[str, Mapping[str, str]] = {
    "standard": {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}

#: Contexts that no processing value stands for.
OMITTED_CONTEXTS = {
    "service_tier=default": "is the standard price",
    "route=mistral/eu": "a router's choice of region is not part of a usage record",
    "search_type=fast": "a kind of search is not part of a usage record",
    "search_type=web": "is the standard price",
}

#: Smallest billed quantity, which genai-prices holds in code (Groq bills 10 s of audio).
LEAST: Mapping[tuple[str, str], Mapping[str, int]] = {
    ("groq", "whisper-large-v3"): {"audio_ms": 10_000, "input_audio_ms": 10_000},
    ("groq", "whisper-large-v3-turbo"): {"audio_ms": 10_000, "input_audio_ms": 10_000},
}

_CLAUSES = ("equals", "starts_with", "ends_with", "contains", "regex")


class CompileError(Exception):
    """The catalogue holds something that this program cannot translate."""


def nano_per_million(price_usd: Decimal, units: int) -> int:
    """USD per `units` priced units, as nano-USD per million priced units (half-even)."""
    exact = Fraction(price_usd) * 10**15 / units
    quotient = Decimal(exact.numerator) / Decimal(exact.denominator)
    return int(quotient.to_integral_value(ROUND_HALF_EVEN))


class Compiler:
    """Walks the catalogue once; `omitted` and `rounded` collect what it had to say."""

    def __init__(self) -> None:
        self.omitted: dict[str, int] = {}
        self.rounded: list[str] = []

    def clause(self, rule: Any) -> dict[str, Any] | None:
        if rule is None:
            return None
        for name in _CLAUSES:
            if hasattr(rule, name):
                return {name: getattr(rule, name)}
        for name in ("or", "and"):
            if hasattr(rule, f"{name}_"):
                return {name: [self.clause(part) for part in getattr(rule, f"{name}_")]}
        raise CompileError(f"unknown match rule {rule!r}")

    def figure(self, where: str, price: Decimal, units: int) -> int:
        nano = nano_per_million(price, units)
        if Fraction(price) * 10**15 / units != nano:
            self.rounded.append(f"{where} {price}")
        return nano

    def prices(self, where: str, model_price: Any) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in model_price.__dict__.items():
            if value is None:
                continue
            if key in OMITTED_KEYS:
                self._omit(f"{key} of {where}: {OMITTED_KEYS[key]}")
                continue
            if key not in PRICE_KEYS:
                raise CompileError(f"unknown price key {key} of {where}; add it to PRICE_KEYS")
            name, units = PRICE_KEYS[key]
            if hasattr(value, "tiers"):
                steps = [
                    [tier.start, self.figure(f"{where} {key}", tier.price, units)]
                    for tier in value.tiers
                ]
                out[name] = [self.figure(f"{where} {key}", value.base, units), *steps]
            else:
                out[name] = self.figure(f"{where} {key}", value, units)
        return out

    def constraint(self, where: str, constraint: Any) -> dict[str, Any]:
        if constraint is None:
            return {}
        if hasattr(constraint, "start_date"):
            return {"from": constraint.start_date.isoformat()}
        if hasattr(constraint, "start_time"):
            edges = (constraint.start_time, constraint.end_time)
            if any(edge.utcoffset() for edge in edges):
                raise CompileError(f"time of day that is not UTC in {where}")
            return {"hours": [edge.strftime("%H:%M:%S") for edge in edges]}
        raise CompileError(f"unknown constraint {constraint!r} of {where}")

    def dated(self, where: str, prices: Any) -> list[dict[str, Any]]:
        if not isinstance(prices, list):
            return [{"usd": self.prices(where, prices)}]
        return [
            {**self.constraint(where, one.constraint), "usd": self.prices(where, one.prices)}
            for one in prices
        ]

    def variants(self, where: str, variants: Iterable[Any]) -> list[dict[str, Any]]:
        out = []
        for variant in variants:
            text = ",".join(f"{key}={value}" for key, value in sorted(variant.when.items()))
            if text in OMITTED_CONTEXTS:
                self._omit(f"context {text}: {OMITTED_CONTEXTS[text]}")
                continue
            fitting = [
                processing
                for processing, context in CONTEXTS.items()
                if all(context.get(key) == value for key, value in variant.when.items())
            ]
            if not fitting:
                raise CompileError(f"unknown context {text} of {where}; add it to CONTEXTS")
            dates = self.constraint(where, variant.constraint)
            usd = self.prices(f"{where} {text}", variant.prices)
            out += [{"processing": one, **dates, "usd": usd} for one in fitting]
        return out

    def model(self, provider: str, model: Any) -> dict[str, Any]:
        where = f"{provider}/{model.id}"
        out: dict[str, Any] = {"id": model.id, "match": self.clause(model.match)}
        if model.name and model.name != model.id:
            out["name"] = model.name
        if model.context_window:
            out["context_window"] = model.context_window
        if model.deprecated:
            out["deprecated"] = True
        if (provider, model.id) in LEAST:
            out["least"] = dict(LEAST[provider, model.id])
        out["prices"] = self.dated(where, model.prices)
        if variants := self.variants(where, model.price_variants or ()):
            out["variants"] = variants
        return out

    def provider(self, provider: Any) -> dict[str, Any]:
        return {
            "id": provider.id,
            "provider_match": self.clause(provider.provider_match),
            "model_match": self.clause(provider.model_match),
            "fallback": list(provider.fallback_model_providers or ()),
            "models": [self.model(provider.id, model) for model in provider.models],
        }

    def _omit(self, text: str) -> None:
        self.omitted[text] = self.omitted.get(text, 0) + 1


#: What `as_of` says where no remark names a day.
NO_DAY = "1970-01-01"


def as_of(texts: Iterable[str]) -> str:
    """The newest day on which the catalogue's own remarks say that a page was read."""
    days = re.compile(r"(?:as of|checked|verified|retrieved|accessed)(?: on)? (20\d\d-\d\d-\d\d)")
    return max((day for text in texts for day in days.findall(text)), default=NO_DAY)


def generate() -> str:
    """The text of the data file, one model a line so that a change reads well."""
    from genai_prices.data_snapshot import get_snapshot

    version = importlib.metadata.version("genai-prices")
    return render(get_snapshot().providers, f"genai-prices {version}")


def render(source: Sequence[Any], name: str, read_on: str = "") -> str:
    """The text of a data file for a list's providers; `name` says which list it was.

    `read_on` is the day on which its prices were read, where its remarks do not tell.
    """
    compiler = Compiler()
    providers = [compiler.provider(provider) for provider in source]
    remarks = [provider.price_comments or "" for provider in source]
    remarks += [model.price_comments or "" for one in source for model in one.models]
    body = json.dumps(_figures(providers), sort_keys=True, separators=(",", ":"))
    head = {
        "generated": "by python -m costmeter.pricing.compile; never edit, override instead",
        "source": name,
        "licence": "MIT, Copyright (c) Pydantic Services Inc. 2025 to present; see NOTICE",
        "as_of": read_on or as_of(remarks),
        "unit": "nano-USD per million tokens, calls or pieces; audio per million hours",
        "figures": hashlib.sha256(body.encode()).hexdigest()[:16],
        "omitted": [f"{text} ({count}x)" for text, count in sorted(compiler.omitted.items())],
        "rounded": sorted(compiler.rounded),
    }
    lines = ["{", *(f"{_text(key)}:{_text(value)}," for key, value in head.items())]
    lines.append('"providers":[')
    for number, provider in enumerate(providers):
        models = provider.pop("models")
        lines.append(_text(provider)[:-1] + ',"models":[')
        lines += _separated(models)
        lines.append("]}" + ("," if number + 1 < len(providers) else ""))
    return "\n".join([*lines, "]}", ""])


def _figures(providers: Iterable[Mapping[str, Any]]) -> list[Any]:
    """What decides a price: names and remarks change without a new revision."""
    told = ("id", "match", "least", "prices", "variants")
    return [
        {
            **provider,
            "models": [
                {key: model[key] for key in told if key in model} for model in provider["models"]
            ],
        }
        for provider in providers
    ]


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _separated(values: Sequence[Any]) -> list[str]:
    texts = [_text(value) for value in values]
    return [f"{text}," for text in texts[:-1]] + texts[-1:]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m costmeter.pricing.compile")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--target", type=Path, default=TARGET)
    options = parser.parse_args(arguments)
    text = generate()
    if not options.check:
        options.target.write_text(text, encoding="utf-8")
        return 0
    if options.target.is_file() and options.target.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(
        f"{options.target} is not what genai-prices {importlib.metadata.version('genai-prices')} "
        "gives; run python -m costmeter.pricing.compile and commit the file\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
