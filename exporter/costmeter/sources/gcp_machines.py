"""Google Cloud's accelerators: what a machine type holds, and one name for each card.

Facts of Google's documentation of accelerator-optimised machine types. N1 machines, to
which cards are attached at will, do not say in their type which they have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from costmeter.pricing.gpu import canonical_gpu, is_known_gpu

#: The number in the name is the number of cards.
_BY_COUNT: Mapping[str, str] = {
    "a2-highgpu": "A100-40GB",
    "a2-megagpu": "A100-40GB",
    "a2-ultragpu": "A100-80GB",
    "a3-highgpu": "H100-80GB",
    "a3-megagpu": "H100-80GB",
    "a3-edgegpu": "H100-80GB",
    "a3-ultragpu": "H200-141GB",
    "a4-highgpu": "B200-180GB",
    "a4x-highgpu": "GB200",
}
_COUNTED = re.compile(r"(?P<series>a[0-9]+x?-[a-z]+gpu)-(?P<count>[0-9]{1,2})g(-.*)?")
#: The number in the name is the number of virtual CPUs.
_BY_CPUS: Mapping[str, Mapping[int, int]] = {
    "g2": {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8},
    "g4": {48: 1, 96: 2, 192: 4, 384: 8},
}
_CARDS: Mapping[str, str] = {"g2": "L4", "g4": "RTX-PRO-6000"}
_STANDARD = re.compile(r"(?P<series>g[24])-standard-(?P<cpus>[0-9]{1,3})")
_TPU = re.compile(r"(?P<family>ct[0-9][a-z0-9]*)-hightpu-(?P<count>[0-9]{1,2})t(-.*)?")
#: Cards that Google sells with one size of memory, and whose names leave it out.
_SIZES: Mapping[str, str] = {"A100": "A100-40GB", "V100": "V100-16GB"}


class Accelerators(NamedTuple):
    """How many of which card a machine has."""

    model: str
    cards: int


def of_machine(machine_type: str) -> Accelerators | None:
    """None for a machine without cards of its own."""
    found = _COUNTED.fullmatch(machine_type)
    if found is not None and found["series"] in _BY_COUNT:
        return Accelerators(_BY_COUNT[found["series"]], int(found["count"]))
    found = _STANDARD.fullmatch(machine_type)
    if found is not None:
        count = _BY_CPUS[found["series"]].get(int(found["cpus"]))
        return None if count is None else Accelerators(_CARDS[found["series"]], count)
    found = _TPU.fullmatch(machine_type)
    if found is not None:
        return Accelerators(f"tpu-{found['family']}", int(found["count"]))
    return None


def card(name: str) -> str:
    """A card as the price list names it: `nvidia-tesla-a100` is A100-40GB.

    A TPU, and a card that is not known, keep the name that they come with.
    """
    if not is_known_gpu(name):
        return name
    found = canonical_gpu(name).upper()
    return _SIZES.get(found, found)


def region_of(location: str) -> str:
    """The region of a zone (`us-central1-a`), or the location itself."""
    found = re.fullmatch(r"([a-z]+-[a-z]+[0-9]+)-[a-z]", location)
    return found.group(1) if found else location
