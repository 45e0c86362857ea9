"""What is known of a model beside its prices."""

from __future__ import annotations

from msgspec import Struct


class ModelInfo(Struct, frozen=True):
    """A model as the catalogue and the overrides know it.

    `catalogue_id` is `provider/model` of the matched entry, "" when only an override
    knows the model. `context_window` is in tokens. `deprecated` is true when somebody
    called the model deprecated; `deprecated_ms` is the day it ends, where known.
    """

    provider: str
    model: str
    name: str
    catalogue_id: str
    context_window: int | None = None
    deprecated: bool = False
    deprecated_ms: int | None = None
    replacement: str = ""
