"""Providers' usage objects, read once at the edge into disjoint classes.

`docs/usage-objects.md` says for each provider which field becomes which class.
"""

from .reading import Normalised, UsageError
from .responses import normalise_response, normalise_usage
from .streams import normalise_stream

__all__ = [
    "Normalised",
    "UsageError",
    "normalise_response",
    "normalise_stream",
    "normalise_usage",
]
