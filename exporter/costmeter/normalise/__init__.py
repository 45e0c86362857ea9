"""Providers' usage objects, read once at the edge into disjoint classes.

`docs/usage-objects.md` says for each provider which field becomes which class. The readers are
imported when the first object is to be read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from costmeter.normalise.reading import Normalised, UsageError
    from costmeter.normalise.responses import normalise_response, normalise_usage
    from costmeter.normalise.streams import normalise_stream

__all__ = [
    "Normalised",
    "UsageError",
    "normalise_response",
    "normalise_stream",
    "normalise_usage",
]

_HOMES = {
    "Normalised": "reading",
    "UsageError": "reading",
    "normalise_response": "responses",
    "normalise_stream": "streams",
    "normalise_usage": "responses",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
