"""What attribution is told: plain arguments, whoever reads them from a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from costmeter.model import UNATTRIBUTED
from costmeter.segment import NOBODY, Owner

Mode = Literal["auto", "kubernetes", "processes", "configured"]

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

#: Labels or annotations by field of an owner; the first that is there decides.
LABELS: Mapping[str, tuple[str, ...]] = {
    "tenant_id": ("costmeter.dev/tenant", "tenant"),
    "environment": ("costmeter.dev/environment", "environment", "env"),
    "team": ("costmeter.dev/team", "team"),
    "project": ("costmeter.dev/project", "project", "app.kubernetes.io/part-of"),
    "feature": ("costmeter.dev/feature", "feature"),
    "purpose": ("costmeter.dev/purpose", "purpose"),
    "serves": ("costmeter.dev/model",),
}


@dataclass(frozen=True, slots=True)
class OwnerSettings:
    """How owners are found on this machine.

    `default` is whose a GPU is when nothing else says it, field by field. `namespaces` and
    `workloads` give tenants by name, where no label does: `{"team-a": "acme"}`, and globs
    over workloads, `{"user:alice": "acme", "slurm:*": "lab"}`, the first that fits.
    `proc`, `passwd` and `docker` are the host's own, wherever they are mounted.
    """

    mode: Mode = "auto"
    default: Owner = NOBODY
    node_name: str = ""
    kubelet_socket: Path = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
    api_server: str = ""
    """Empty: the cluster that this process runs in, where it runs in one."""
    token_file: Path = _ACCOUNT / "token"
    ca_file: Path = _ACCOUNT / "ca.crt"
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: LABELS)
    namespaces: Mapping[str, str] = field(default_factory=dict)
    namespace_is_tenant: bool = True
    """A pod that nothing else names a tenant for belongs to its namespace."""
    workloads: Mapping[str, str] = field(default_factory=dict)
    resource_prefixes: tuple[str, ...] = ("nvidia.com/",)
    dra_drivers: tuple[str, ...] = ("gpu.nvidia.com",)
    proc: Path = Path("/proc")
    passwd: Path = Path("/etc/passwd")
    docker: Path = Path("/var/lib/docker")
    refresh_seconds: float = 5
    keep_seconds: float = 300
    """How long the kubelet's last answer is believed while it does not answer."""

    @property
    def tenant_is_configured(self) -> bool:
        return self.default.tenant_id not in ("", UNATTRIBUTED)
