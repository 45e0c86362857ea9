"""GPUs by one name: what the driver, a cloud and a price list call the same card."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from costmeter.pricing.lines import Line, Query, best

GPU_CATEGORY = "gpu_compute"
ON_DEMAND = "on_demand"
ON_PREMISES = "onprem"

#: Clouds by the names that people and metadata services use.
PLACES: Mapping[str, str] = {
    "amazon": "aws",
    "ec2": "aws",
    "eks": "aws",
    "google": "gcp",
    "google cloud": "gcp",
    "gce": "gcp",
    "gke": "gcp",
    "microsoft": "azure",
    "aks": "azure",
    "lambda labs": "lambda",
    "lambdalabs": "lambda",
    "runpod.io": "runpod",
    "on-prem": ON_PREMISES,
    "on_prem": ON_PREMISES,
    "on-premises": ON_PREMISES,
    "self-hosted": ON_PREMISES,
    "selfhosted": ON_PREMISES,
}

#: Cards that exist with one size of memory only.
_ONE_SIZE: Mapping[str, str] = {
    "gh200": "GH200-96GB",
    "h200": "H200-141GB",
    "b200": "B200-180GB",
    "h100": "H100-80GB",
    "h800": "H800-80GB",
    "l40s": "L40S",
    "l40": "L40",
    "l4": "L4",
    "a10g": "A10G",
    "a10": "A10",
    "t4": "T4",
    "a40": "A40",
}
_MEMORY = re.compile(r"(\d+)\s*g(?:i?b)?\b")
_FAMILY = re.compile(r"\b(gh200|h200|b200|h100|h800|a100|a800|l40s|l40|l4|a10g|a10|t4|a40|v100)\b")


def canonical_place(provider: str) -> str:
    """`aws`, `gcp`, `azure`, `onprem` or the provider's own name, in lower case."""
    place = provider.strip().lower()
    return PLACES.get(place, place)


def canonical_gpu(name: str) -> str:
    """`NVIDIA A100-SXM4-80GB` as `a100-80gb`: family and memory, in lower case.

    The form (SXM, PCIe) is no part of it; price lists rarely tell the two apart, and
    an instance type does. A card that is not known keeps its own name, without the
    maker's, so that an override can still name it.
    """
    text = re.sub(r"[\s_]+", " ", name.strip().lower())
    text = text.split(" mig ")[0]
    plain = text.replace("-", " ")
    found = _FAMILY.search(plain)
    if found is None:
        return re.sub(r"^(nvidia|tesla)\s+", "", text)
    family = found.group(1)
    memory = _MEMORY.search(plain[found.end() :])
    usual = _ONE_SIZE.get(family)
    if memory is None:
        if family == "h100" and "nvl" in plain:
            return "h100-94gb"
        return (usual or family).lower()
    size = int(memory.group(1))
    if usual is not None and "-" not in usual:
        return usual.lower()
    return f"{family}-{size}gb"


def is_known_gpu(name: str) -> bool:
    """Whether a name holds a family of cards that this program knows."""
    return _FAMILY.search(name.lower().replace("-", " ")) is not None


def listed(lines: Sequence[Line], query: Query, at_ms: int) -> Line | None:
    """The listed price of a GPU: by instance type, else the one price of its region.

    A named instance type that is not listed is unpriced: another machine with the same
    card costs something else. Where the type is not known, the region's machines with
    this card must agree on a price per GPU; if they do not, none is guessed.
    """
    if query.instance_type:
        return best([line for line in lines if line.fits(query)], at_ms)
    fitting = [
        line
        for line in lines
        if line.active(at_ms) and line.fits(_typed(query, line.instance_type))
    ]
    figures = {tuple(sorted(line.figures.items())) for line in fitting}
    return best(fitting, at_ms) if len(figures) == 1 else None


def _typed(query: Query, instance_type: str) -> Query:
    return Query(
        query.provider,
        query.model,
        query.account,
        query.region,
        instance_type,
        query.purchase,
        query.processing,
    )
