"""What applications import: a meter that tells costmeter about calls to models.

Standard library only. Nothing here raises into the application or waits for the network
in its threads; `docs/sdk.md` says what is delivered, what can be lost, and what counts it.
"""

from costmeter.sdk.call import Call
from costmeter.sdk.context import attributes
from costmeter.sdk.counts import Stats
from costmeter.sdk.event import Fields
from costmeter.sdk.meter import Meter

__all__ = ["Call", "Fields", "Meter", "Stats", "attributes"]
