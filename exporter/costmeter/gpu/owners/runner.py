"""The way in which owners are found here, chosen once at the start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from costmeter.clock import Clock, SystemClock
from costmeter.gpu.claims import Claims
from costmeter.gpu.owners.configured import ConfiguredClaims
from costmeter.gpu.owners.health import OwnersHealth
from costmeter.gpu.owners.nodes import NodeFacts
from costmeter.gpu.owners.serving_pods import ServingPod
from costmeter.gpu.owners.settings import Mode, OwnerSettings


class ClaimsRunner(Claims, Protocol):
    """Claims that are kept up to date in threads of their own, from `start` to `stop`."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def health(self) -> OwnersHealth:
        """Figures of this moment, from memory."""
        ...

    def node(self) -> NodeFacts | None:
        """What the cluster says of this machine; None where there is none to say it, or
        not yet."""
        ...

    def serving(self) -> Sequence[ServingPod]:
        """Pods with GPUs that show metrics of their own; from memory, in any thread."""
        ...


def claims_of(settings: OwnerSettings, clock: Clock | None = None) -> ClaimsRunner:
    """Who finds the owners on this machine. Nothing runs before `start`."""
    clock = clock or SystemClock()
    mode = mode_of(settings)
    if mode == "kubernetes":
        from costmeter.gpu.owners.kubernetes import KubernetesClaims

        return KubernetesClaims(settings, clock)
    if mode == "processes":
        from costmeter.gpu.owners.processes import ProcessClaims

        return ProcessClaims(settings, clock)
    return ConfiguredClaims(settings.default)


def mode_of(settings: OwnerSettings) -> Mode:
    """The way that `auto` comes to: the kubelet where its folder is there, then a tenant
    that is configured, then the processes."""
    if settings.mode != "auto":
        return settings.mode
    if _is_there(settings.kubelet_socket.parent):
        return "kubernetes"
    return "configured" if settings.tenant_is_configured else "processes"


def _is_there(folder: Path) -> bool:
    """The folder and not the socket, which comes and goes with the kubelet."""
    try:
        return folder.stat() is not None
    except PermissionError:
        # It is there and not for us; asking says that in words.
        return True
    except OSError:
        return False
