"""costmeter: the cost instrument of an LLM platform.

Applications use `from costmeter import Meter`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from costmeter.sdk import Meter as Meter

__version__ = "0.1.0"
__all__ = ["Meter", "__version__"]


def __getattr__(name: str) -> object:
    # Late: the server and the commands start without the code that applications import.
    if name == "Meter":
        from costmeter.sdk import Meter

        return Meter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
