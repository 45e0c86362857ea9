"""What a node's labels say of its price."""

from __future__ import annotations

import pytest

from costmeter.gpu.owners.nodes import NodeFacts, node_facts
from costmeter.segment import Placement

COMMON = {
    "node.kubernetes.io/instance-type": "p5.48xlarge",
    "topology.kubernetes.io/region": "us-east-1",
    "topology.kubernetes.io/zone": "us-east-1a",
}


def test_an_eks_node() -> None:
    labels = {
        **COMMON,
        "eks.amazonaws.com/capacityType": "ON_DEMAND",
        "eks.amazonaws.com/nodegroup": "g",
    }
    assert node_facts(labels, "aws:///us-east-1a/i-0abc") == NodeFacts(
        "aws", "", "us-east-1", "us-east-1a", "p5.48xlarge", "on_demand"
    )


def test_a_gke_node() -> None:
    labels = {
        "beta.kubernetes.io/instance-type": "a2-highgpu-1g",
        "failure-domain.beta.kubernetes.io/region": "us-central1",
        "failure-domain.beta.kubernetes.io/zone": "us-central1-a",
        "cloud.google.com/gke-spot": "true",
        "cloud.google.com/gke-accelerator": "nvidia-tesla-a100",
    }
    assert node_facts(labels, "gce://my-project/us-central1-a/gke-x") == NodeFacts(
        "gcp", "my-project", "us-central1", "us-central1-a", "a2-highgpu-1g", "spot",
        "nvidia-tesla-a100",
    )  # fmt: skip


def test_an_aks_node() -> None:
    labels = {
        **COMMON,
        "kubernetes.azure.com/scalesetpriority": "spot",
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    }
    identity = "azure:///subscriptions/1234/resourceGroups/rg/providers/Microsoft.Compute/x"
    found = node_facts(labels, identity)
    assert (found.provider, found.account, found.purchase) == ("azure", "1234", "spot")
    assert found.gpu_product == "NVIDIA-H100-80GB-HBM3"


@pytest.mark.parametrize(
    ("labels", "purchase"),
    [
        ({"karpenter.sh/capacity-type": "spot"}, "spot"),
        ({"karpenter.sh/capacity-type": "on-demand"}, "on_demand"),
        (
            {
                "karpenter.sh/capacity-type": "reserved",
                "karpenter.k8s.aws/capacity-reservation-type": "capacity-block",
            },
            "reserved",
        ),
        (
            {
                "karpenter.sh/capacity-type": "reserved",
                "karpenter.k8s.aws/capacity-reservation-type": "default",
            },
            "on_demand",
        ),
        ({"eks.amazonaws.com/capacityType": "SPOT"}, "spot"),
        ({"eks.amazonaws.com/capacityType": "CAPACITY_BLOCK"}, "reserved"),
        ({"cloud.google.com/gke-preemptible": "true"}, "spot"),
        ({"cloud.google.com/gke-provisioning": "standard"}, "on_demand"),
        ({}, None),
    ],
)
def test_how_it_is_bought(labels: dict[str, str], purchase: str | None) -> None:
    assert node_facts(labels).purchase == purchase


@pytest.mark.parametrize(
    ("label", "provider"),
    [
        ("karpenter.k8s.aws/instance-family", "aws"),
        ("cloud.google.com/gke-nodepool", "gcp"),
        ("kubernetes.azure.com/agentpool", "azure"),
        ("example.com/rack", ""),
    ],
)
def test_the_provider_by_labels_alone(label: str, provider: str) -> None:
    assert node_facts({label: "x"}).provider == provider


def test_what_is_configured_stays() -> None:
    facts = NodeFacts("aws", "acc", "us-east-1", "us-east-1a", "p5.48xlarge", "spot")
    assert facts.placement(Placement(node="n")) == Placement(
        "aws", "acc", "us-east-1", "p5.48xlarge", "spot", "n"
    )
    mine = Placement("lambda", "me", "eu", "box", "reserved", "n")
    assert facts.placement(mine) == mine
    assert NodeFacts().placement(mine) == mine
    assert NodeFacts().placement(Placement()) == Placement()
