"""Settings of GPUs: how they are sampled, whose they are, what their time and energy cost.

The same section stands in the configuration of `serve` and of the agent.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from costmeter.config.kinds import Amount, Choice, Exact, Kind, Pattern, Switch, Whole, WorkPath
from costmeter.config.problems import Reading, Wrong
from costmeter.config.records import ListOf, Records, Section
from costmeter.config.serving import ServingSource, mistakes_of
from costmeter.config.spec import Setting
from costmeter.config.values import LABEL, OPTIONAL_LABEL

if TYPE_CHECKING:
    from costmeter.segment import Placement

#: Where the kubelet and the service account stand on every ordinary node.
KUBELET_SOCKET = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_KEY: Kind[str] = Pattern(
    r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?",
    "the key of a label",
    "one like team or app.kubernetes.io/part-of",
)
_SERVER: Kind[str] = Pattern(
    r"https?://[^\s@?#]{1,500}", "a base URL", "one like https://10.0.0.1:6443", empty=True
)
_TENANT_OF: Kind[str] = Pattern(
    r"[^\s=]{1,256}=[^\x00-\x1f\x7f\ud800-\udfff]{1,256}",
    "a name with its tenant",
    "one like team-a=acme",
)
_LOCAL = ("http://127.", "http://localhost", "http://[::1]")


class _Pue(Exact):
    """Watts drawn from the grid for each watt at the plug: never under 1."""

    def __init__(self) -> None:
        super().__init__("a ratio", "a number from 1 to 10, such as 1.2", 10)

    def parse(self, text: str, folder: Path) -> Decimal:
        value = super().parse(text, folder)
        if value < 1:
            raise Wrong("is under 1, as if the building gave energy away; write 1 or more")
        return value


class _Grams(Exact):
    """Grams, or nothing where nobody knows."""

    takes_null = True

    def __init__(self) -> None:
        super().__init__("a number of grams", "a number such as 380", 10_000)

    def read_text(self, text: str, folder: Path, reading: Reading) -> Decimal:
        # Nothing is None to whoever reads the setting.
        return super().read_text(text, folder, reading) if text else None  # type: ignore[return-value]

    def show(self, value: Decimal | None) -> str:
        return "" if value is None else super().show(value)


def tenants_of(entries: tuple[str, ...]) -> Mapping[str, str]:
    """Tenants by name, of entries such as `team-a=acme`; the first of a name counts."""
    pairs = [entry.partition("=") for entry in entries]
    return {name: tenant for name, _, tenant in reversed(pairs)}


def _labels(what: str) -> Setting:
    return Setting(ListOf(_KEY, "keys of labels"), f"Labels or annotations that say {what}.")


@dataclass(frozen=True, slots=True)
class PodLabels:
    """Of each list the first label that a pod carries decides, then its namespace's."""

    tenant_id: Annotated[tuple[str, ...], _labels("whose it is")] = (
        "costmeter.dev/tenant",
        "tenant",
    )
    environment: Annotated[tuple[str, ...], _labels("its environment")] = (
        "costmeter.dev/environment",
        "environment",
        "env",
    )
    team: Annotated[tuple[str, ...], _labels("its team")] = ("costmeter.dev/team", "team")
    project: Annotated[tuple[str, ...], _labels("its project")] = (
        "costmeter.dev/project",
        "project",
        "app.kubernetes.io/part-of",
    )
    feature: Annotated[tuple[str, ...], _labels("its feature")] = (
        "costmeter.dev/feature",
        "feature",
    )
    purpose: Annotated[tuple[str, ...], _labels("what it is for, as training or inference")] = (
        "costmeter.dev/purpose",
        "purpose",
    )
    serves: Annotated[tuple[str, ...], _labels("which model it serves")] = ("costmeter.dev/model",)

    def by_field(self) -> Mapping[str, tuple[str, ...]]:
        """The labels by the owner's field."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass(frozen=True, slots=True)
class Kubernetes:
    kubelet_socket: Annotated[
        Path,
        Setting(WorkPath(), "The kubelet's socket that says which pod holds which device."),
    ] = KUBELET_SOCKET
    api_server: Annotated[
        str,
        Setting(
            _SERVER,
            "Where pods are asked for their labels. Empty: the cluster that this runs in.",
        ),
    ] = ""
    node_name: Annotated[
        str,
        Setting(
            OPTIONAL_LABEL,
            "This node's name, in metrics too. Empty: the variable NODE_NAME, or the host's name.",
        ),
    ] = ""
    token_file: Annotated[
        Path, Setting(WorkPath(), "The service account's token; it is read anew as it changes.")
    ] = _ACCOUNT / "token"
    ca_file: Annotated[
        Path, Setting(WorkPath(), "Who signs the API server's certificate, PEM.")
    ] = _ACCOUNT / "ca.crt"
    namespaces: Annotated[
        tuple[str, ...],
        Setting(
            ListOf(_TENANT_OF, "namespaces with their tenants"),
            "Tenants of namespaces, as [team-a=acme], for pods without a label that says it.",
        ),
    ] = ()
    namespace_is_tenant: Annotated[
        bool,
        Setting(Switch(), "Whether a pod that nothing else tells a tenant of is its namespace's."),
    ] = True
    serving: Annotated[
        bool,
        Setting(
            Switch(),
            "Whether pods with a GPU are asked for the tokens that they served, where an "
            "annotation says at which port: costmeter.dev/metrics, or those of prometheus.io.",
        ),
    ] = True
    labels: Annotated[
        PodLabels,
        Setting(
            Section(PodLabels),
            "Which labels of a pod, or of its namespace, say whose it is. The first that is "
            "there decides.",
        ),
    ] = field(default_factory=PodLabels)


@dataclass(frozen=True, slots=True)
class Energy:
    usd_per_kwh: Annotated[
        int | None,
        Setting(
            Amount(optional=True),
            "What a kilowatt-hour costs here. Empty: as a price file says, or not known.",
            unit="USD",
        ),
    ] = None
    pue: Annotated[
        Decimal,
        Setting(_Pue(), "What the building draws for each kilowatt-hour of its machines."),
    ] = Decimal(1)
    grams_co2_per_kwh: Annotated[
        Decimal | None,
        Setting(
            _Grams(),
            "The grid's carbon intensity (CO2 equivalent). Empty: as a price file says, or "
            "not known.",
            unit="grams",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Gpu:
    enabled: Annotated[
        Literal["auto", "true", "false"],
        Setting(
            Choice("auto", "true", "false"),
            "Whether this machine's GPUs are sampled; auto does when the driver is there.",
        ),
    ] = "auto"
    sample_seconds: Annotated[
        int, Setting(Whole(1, 60), "Time between two samples.", unit="seconds")
    ] = 1
    segment_seconds: Annotated[
        int,
        Setting(
            Whole(1, 300),
            "The longest that GPU time is gathered before it is booked.",
            unit="seconds",
        ),
    ] = 60
    provider: Annotated[str, Setting(LABEL, "Provider that GPU time is booked under.")] = "onprem"
    account: Annotated[
        str, Setting(OPTIONAL_LABEL, "The provider's account, for scopes and prices.")
    ] = ""
    region: Annotated[str, Setting(OPTIONAL_LABEL, "Region of this machine, for the price.")] = ""
    instance_type: Annotated[
        str, Setting(OPTIONAL_LABEL, "Instance type of this machine, for the price.")
    ] = ""
    purchase: Annotated[
        Literal["on_demand", "spot", "reserved"],
        Setting(
            Choice("on_demand", "spot", "reserved"), "How this machine was bought, for the price."
        ),
    ] = "on_demand"
    owners: Annotated[
        Literal["auto", "kubernetes", "processes", "configured"],
        Setting(
            Choice("auto", "kubernetes", "processes", "configured"),
            "How it is found out who holds a GPU: by the kubelet's word, by the processes on "
            "it, or only by this section. auto asks the kubelet where its socket is, and looks "
            "at processes elsewhere.",
        ),
    ] = "auto"
    tenant_id: Annotated[
        str, Setting(LABEL, "Tenant that GPU time is booked under when nobody else is known.")
    ] = "unattributed"
    environment: Annotated[
        str, Setting(OPTIONAL_LABEL, "Environment that GPU time is booked under then.")
    ] = ""
    team: Annotated[str, Setting(OPTIONAL_LABEL, "Team that GPU time is booked under then.")] = ""
    project: Annotated[
        str, Setting(OPTIONAL_LABEL, "Project that GPU time is booked under then.")
    ] = ""
    purpose: Annotated[
        str, Setting(OPTIONAL_LABEL, "Purpose that GPU time is booked under then.")
    ] = ""
    workloads: Annotated[
        tuple[str, ...],
        Setting(
            ListOf(_TENANT_OF, "workloads with their tenants"),
            "Tenants of processes outside Kubernetes, the first that fits: patterns such as "
            "user:alice=acme, slurm:*=lab, docker:chat-*=acme.",
        ),
    ] = ()
    serving: Annotated[
        tuple[ServingSource, ...],
        Setting(
            Records(ServingSource),
            "Model servers here whose tokens are set against the cost of their GPUs. Pods need "
            "no entry: see `gpu.kubernetes.serving`.",
        ),
    ] = ()
    serving_seconds: Annotated[
        int, Setting(Whole(5, 300), "How often model servers are asked.", unit="seconds")
    ] = 15
    serving_window_seconds: Annotated[
        int,
        Setting(
            Whole(300, 86_400),
            "Over how long a time tokens are set against the cost of GPUs.",
            unit="seconds",
        ),
    ] = 3600
    kubernetes: Annotated[
        Kubernetes, Setting(Section(Kubernetes), "Where pods on this node are asked for.")
    ] = field(default_factory=Kubernetes)
    energy: Annotated[
        Energy, Setting(Section(Energy), "What energy costs here, in money and in carbon.")
    ] = field(default_factory=Energy)

    def placement(self, environ: Mapping[str, str]) -> Placement:
        """Where these GPUs stand, and whose they are when nobody else is known."""
        from costmeter.segment import Owner, Placement

        owner = Owner(
            tenant_id=self.tenant_id,
            environment=self.environment,
            team=self.team,
            project=self.project,
            purpose=self.purpose,
        )
        return Placement(
            provider=self.provider,
            account=self.account,
            region=self.region,
            instance_type=self.instance_type,
            purchase=self.purchase,
            node=self.node(environ),
            owner=owner,
        )

    def node(self, environ: Mapping[str, str]) -> str:
        """This machine's name, as metrics and records carry it."""
        return self.kubernetes.node_name or environ.get("NODE_NAME", "") or socket.gethostname()

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Settings that do not go together: (key, what to write instead)."""
        if self.segment_seconds < self.sample_seconds:
            text = f"{self.segment_seconds} is shorter than gpu.sample_seconds"
            yield "segment_seconds", f"{text} ({self.sample_seconds}); write more"
        server = self.kubernetes.api_server
        if server.startswith("http://") and not server.startswith(_LOCAL):
            yield "kubernetes.api_server", "would send the token in the clear; write https://"
        yield from mistakes_of(self.serving)
