"""Real response bodies with the usage and the price that should come out of them.

The expected figures are genai-prices' (MIT): there `input_tokens` includes caches and
every modality, and `output_tokens` includes reasoning. `disjoint` translates.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("COSTMETER_DATA", ROOT.parent / "shared" / "data"))
BODIES = DATA / "conformance" / "provider_usages_quarter.json"

_MODALITIES = ("audio", "image", "video")


class Case(NamedTuple):
    """One body, read by one provider's extractor ("flavour") of the expected figures.

    The prices are decimal text in USD, None where the expectation has no price.
    """

    case_id: str
    provider: str
    flavour: str
    body: Mapping[str, Any]
    quantities: dict[str, int]
    input_price: str | None
    output_price: str | None
    model: str

    @property
    def extractor(self) -> str:
        return f"{self.provider}/{self.flavour}"


def cases(bodies: Path = BODIES) -> Iterator[Case]:
    """Every extraction of every body in the file, in its order."""
    for index, entry in enumerate(json.loads(bodies.read_text(encoding="utf-8"))):
        body = {key: value for key, value in entry["body"].items() if key != "file"}
        for extracted in entry["extracted"]:
            for extractor in extracted["extractors"]:
                provider, flavour = extractor["provider_id"], extractor["api_flavor"]
                yield Case(
                    case_id=f"{index}:{provider}/{flavour}",
                    provider=provider,
                    flavour=flavour,
                    body=body,
                    quantities=disjoint(extracted["usage"]),
                    input_price=extractor.get("input_price"),
                    output_price=extractor.get("output_price"),
                    model=entry.get("model", ""),
                )


def disjoint(usage: Mapping[str, int]) -> dict[str, int]:
    """An inclusive usage of the expected figures in our disjoint classes."""
    found: dict[str, int] = {}
    cached = usage.get("cache_read_tokens", 0)
    written = usage.get("cache_write_tokens", 0)
    hour = usage.get("cache_write_1h_tokens", 0)
    fresh = usage.get("input_tokens", 0) - cached - written
    output = usage.get("output_tokens", 0)
    for name in _MODALITIES:
        read = usage.get(f"cache_{name}_read_tokens", 0)
        other = usage.get(f"input_{name}_tokens", 0) - read
        made = usage.get(f"output_{name}_tokens", 0)
        found |= {f"cache_read_{name}": read, f"input_{name}": other, f"output_{name}": made}
        cached, fresh, output = cached - read, fresh - other, output - made
    reasoning = usage.get("output_reasoning_tokens", 0)
    found |= {
        "input": fresh,
        "cache_read": cached,
        "cache_write_5m": written - hour,
        "cache_write_1h": hour,
        "output": output - reasoning,
        "reasoning": reasoning,
        "web_searches": usage.get("web_searches", 0),
    }
    return {name: value for name, value in found.items() if value}
