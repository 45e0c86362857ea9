"""The whole machine belongs to one owner, who is named in the configuration."""

from __future__ import annotations

from costmeter.gpu.claims import Claim
from costmeter.gpu.owners.health import OwnersHealth
from costmeter.gpu.owners.nodes import NodeFacts
from costmeter.gpu.owners.serving_pods import ServingPod
from costmeter.gpu.readings import GpuReading
from costmeter.segment import Owner


class ConfiguredClaims:
    """Every GPU is the owner's, always. There is nothing to ask and nothing to start."""

    def __init__(self, owner: Owner) -> None:
        self._claims = (Claim(owner),)

    def of(self, reading: GpuReading) -> tuple[Claim, ...]:  # noqa: ARG002 - all are alike
        return self._claims

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def health(self) -> OwnersHealth:
        return OwnersHealth("configured")

    def node(self) -> NodeFacts | None:
        return None

    def serving(self) -> tuple[ServingPod, ...]:
        return ()
