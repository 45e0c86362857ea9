"""What price files say of models beside their prices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from costmeter.pricing.lines import is_glob
from costmeter.pricing.nodes import Entry

_MODEL_KEYS = ("provider", "model", "name", "context_window", "deprecated", "replacement")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a price file says of a model beside its price."""

    origin: str
    provider: str
    model: str
    name: str = ""
    context_window: int | None = None
    deprecated_ms: int | None = None
    replacement: str = ""


def read_facts(entry: Entry, provider_id: Callable[[str], str]) -> Facts:
    fields = entry.fields(_MODEL_KEYS)
    for key in ("provider", "model"):
        if key not in fields:
            entry.refuse(f"has no {key}; write {key}: the {key} it is about")
    provider = fields["provider"].text().strip().lower()
    return Facts(
        origin=entry.origin,
        provider=provider if is_glob(provider) else provider_id(provider),
        model=fields["model"].text().strip().lower(),
        name=fields["name"].text() if "name" in fields else "",
        context_window=fields["context_window"].integer() if "context_window" in fields else None,
        deprecated_ms=fields["deprecated"].instant_ms() if "deprecated" in fields else None,
        replacement=fields["replacement"].text() if "replacement" in fields else "",
    )
