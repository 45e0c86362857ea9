"""What a Kubernetes node says of itself in labels: what the price of its GPUs goes by.

The well-known labels of Kubernetes, EKS, GKE, AKS, Karpenter and NVIDIA's GPU feature
discovery, as their documentation names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from costmeter.segment import Placement, Purchase

_INSTANCE_TYPE = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
_REGION = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_ZONE = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_GPU = (
    "nvidia.com/gpu.product",
    "cloud.google.com/gke-accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
    "karpenter.azure.com/sku-gpu-name",
)
_PROVIDERS = {"aws": "aws", "gce": "gcp", "azure": "azure"}
_PREFIXES = {
    "eks.amazonaws.com/": "aws",
    "karpenter.k8s.aws/": "aws",
    "cloud.google.com/gke-": "gcp",
    "kubernetes.azure.com/": "azure",
    "karpenter.azure.com/": "azure",
}
_SPOT = {
    "karpenter.sh/capacity-type": ("spot",),
    "eks.amazonaws.com/capacityType": ("spot",),
    "cloud.google.com/gke-spot": ("true",),
    "cloud.google.com/gke-preemptible": ("true",),
    "cloud.google.com/gke-provisioning": ("spot", "preemptible"),
    "kubernetes.azure.com/scalesetpriority": ("spot",),
}
_RESERVED = {
    "eks.amazonaws.com/capacityType": ("capacity_block",),
    "karpenter.k8s.aws/capacity-reservation-type": ("capacity-block",),
}
_ON_DEMAND = {
    "karpenter.sh/capacity-type": ("on-demand",),
    "eks.amazonaws.com/capacityType": ("on_demand",),
    "cloud.google.com/gke-provisioning": ("standard",),
    "kubernetes.azure.com/scalesetpriority": ("regular",),
    # Capacity that is held, and paid at the ordinary price.
    "karpenter.k8s.aws/capacity-reservation-type": ("default",),
}


class NodeFacts(NamedTuple):
    """An empty text and None are not said. `provider` is as in the price catalogue."""

    provider: str = ""
    account: str = ""
    region: str = ""
    zone: str = ""
    instance_type: str = ""
    purchase: Purchase | None = None
    gpu_product: str = ""

    def placement(self, configured: Placement) -> Placement:
        """What is configured, and the rest from here. The values that a configuration has
        when nothing is written there (`onprem`, `on_demand`, "") give way."""
        onprem = Placement()
        return replace(
            configured,
            provider=(
                self.provider or configured.provider
                if configured.provider == onprem.provider
                else configured.provider
            ),
            account=configured.account or self.account,
            region=configured.region or self.region,
            instance_type=configured.instance_type or self.instance_type,
            purchase=(
                self.purchase or configured.purchase
                if configured.purchase == onprem.purchase
                else configured.purchase
            ),
        )


def node_facts(labels: Mapping[str, str], provider_id: str = "") -> NodeFacts:
    """`provider_id` is the node's `spec.providerID`, as aws:///us-east-1a/i-0abc."""
    scheme, _, rest = provider_id.partition("://")
    provider = _PROVIDERS.get(scheme) or next(
        (
            name
            for prefix, name in _PREFIXES.items()
            if any(label.startswith(prefix) for label in labels)
        ),
        "",
    )
    return NodeFacts(
        provider,
        _account(provider, rest),
        _first(labels, _REGION),
        _first(labels, _ZONE),
        _first(labels, _INSTANCE_TYPE),
        _purchase(labels),
        _first(labels, _GPU),
    )


def _account(provider: str, rest: str) -> str:
    """gce://<project>/<zone>/<name>; azure:///subscriptions/<id>/...; AWS does not say."""
    parts = rest.split("/")
    if provider == "gcp" and len(parts) == 3:
        return parts[0]
    if provider == "azure" and len(parts) > 2 and parts[1].lower() == "subscriptions":
        return parts[2]
    return ""


def _purchase(labels: Mapping[str, str]) -> Purchase | None:
    if _any(labels, _SPOT):
        return "spot"
    if _any(labels, _RESERVED):
        return "reserved"
    return "on_demand" if _any(labels, _ON_DEMAND) else None


def _any(labels: Mapping[str, str], table: Mapping[str, tuple[str, ...]]) -> bool:
    return any(labels.get(name, "").lower() in values for name, values in table.items())


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")
