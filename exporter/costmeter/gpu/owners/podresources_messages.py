"""What the kubelet's PodResources API (v1) answers, as far as devices go.

Field numbers as in the API's definition; of newer fields those are read that lead to a
device of Dynamic Resource Allocation (DRA).
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from costmeter.gpu.owners.protobuf import Malformed, fields


class DraDevice(NamedTuple):
    """A device by the name that its driver published it under."""

    driver: str
    pool: str
    device: str


class Held(NamedTuple):
    """What one container of a pod holds. `devices` are (resource name, device id)."""

    namespace: str
    pod: str
    container: str
    devices: tuple[tuple[str, str], ...] = ()
    dra: tuple[DraDevice, ...] = ()


def holders(answer: bytes) -> list[Held]:
    """The containers of a ListPodResourcesResponse that hold any device.

    Raises Malformed.
    """
    return [held for number, pod in fields(answer) if number == 1 for held in _pod(_bytes(pod))]


def allocatable(answer: bytes) -> Counter[str]:
    """How many devices of each resource an AllocatableResourcesResponse says there are.

    Raises Malformed.
    """
    found: Counter[str] = Counter()
    for number, devices in fields(answer):
        if number == 1:
            for resource, _ in _devices(_bytes(devices)):
                found[resource] += 1
    return found


def _pod(message: bytes) -> list[Held]:
    name = namespace = ""
    containers: list[bytes] = []
    for number, value in fields(message):
        if number == 1:
            name = _text(value)
        elif number == 2:
            namespace = _text(value)
        elif number == 3:
            containers.append(_bytes(value))
    found = []
    for one in containers:
        container, devices, dra = _container(one)
        if devices or dra:
            found.append(Held(namespace, name, container, tuple(devices), tuple(dra)))
    return found


def _container(message: bytes) -> tuple[str, list[tuple[str, str]], list[DraDevice]]:
    name = ""
    devices: list[tuple[str, str]] = []
    dra: list[DraDevice] = []
    for number, value in fields(message):
        if number == 1:
            name = _text(value)
        elif number == 2:
            devices += _devices(_bytes(value))
        elif number == 5:
            dra += [_claimed(_bytes(one)) for inner, one in fields(_bytes(value)) if inner == 4]
    return name, devices, [one for one in dra if one.device]


def _devices(message: bytes) -> list[tuple[str, str]]:
    resource = ""
    ids = []
    for number, value in fields(message):
        if number == 1:
            resource = _text(value)
        elif number == 2:
            ids.append(_text(value))
    return [(resource, one) for one in ids]


def _claimed(message: bytes) -> DraDevice:
    texts = {number: _text(value) for number, value in fields(message) if number in (2, 3, 4)}
    return DraDevice(texts.get(2, ""), texts.get(3, ""), texts.get(4, ""))


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise Malformed("a number where a message belongs")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError as error:
        raise Malformed("a text that is not UTF-8") from error
