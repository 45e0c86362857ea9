"""Devices of Dynamic Resource Allocation: from the name that a pod holds to the GPU.

The kubelet names driver, pool and device; the driver publishes in ResourceSlices what that
device is. NVIDIA's driver gives each GPU and MIG instance its uuid as an attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costmeter.gpu.owners.ids import Device, device_of
from costmeter.gpu.owners.kube_api import ApiError, KubeApi
from costmeter.gpu.owners.podresources_messages import DraDevice

#: Newest first; a cluster answers 404 to what it does not have.
_VERSIONS = ("v1", "v1beta2", "v1beta1")
#: How often at most a device is asked for that nobody published.
_AGAIN_MS = 30_000
#: How long what was read is believed without a new question: a pool can be made anew with
#: the same names.
_KEEP_MS = 600_000


class Slices:
    """For one thread. Asks only when a pod holds a device that is not known."""

    def __init__(self, api: KubeApi, node: str, drivers: tuple[str, ...]) -> None:
        self._api = api
        self._node = node
        self._drivers = drivers
        self._devices: dict[DraDevice, Device] = {}
        self._version: str | None = None
        self._asked_ms: int | None = None
        self.problem = ""

    def of(self, device: DraDevice, now_ms: int) -> Device | None:
        """None as long as nobody says what it is."""
        wait = _KEEP_MS if device in self._devices else _AGAIN_MS
        if self._asked_ms is None or now_ms - self._asked_ms >= wait:
            self._asked_ms = now_ms
            try:
                self._devices = self._ask()
                self.problem = ""
            except ApiError as error:
                # What was known stays: devices rarely change while a node is up.
                self.problem = f"GPUs of resource claims are not known: {error}"
        return self._devices.get(device)

    def _ask(self) -> dict[DraDevice, Device]:
        query = {"fieldSelector": f"spec.nodeName={self._node}"}
        versions = (self._version,) if self._version else _VERSIONS
        for version in versions:
            try:
                path = f"/apis/resource.k8s.io/{version}/resourceslices"
                answer = self._api.json("slices", path, query)
                self._version = version
                return devices_of(answer, self._drivers)
            except ApiError as error:
                if error.reason != "not_found" or version == versions[-1]:
                    self._version = None
                    raise
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                text = f"a ResourceSlice is unreadable: {error}"
                raise self._api.error("slices", "malformed", text) from None
        raise AssertionError("the last version returns or raises")


def devices_of(answer: Any, drivers: tuple[str, ...]) -> dict[DraDevice, Device]:
    """The GPUs in a ResourceSliceList, of the newest generation of each pool."""
    slices = [item["spec"] for item in answer.get("items") or ()]
    slices = [spec for spec in slices if spec["driver"] in drivers]
    newest: dict[tuple[str, str], int] = {}
    for spec in slices:
        key, generation = _pool(spec)
        newest[key] = max(newest.get(key, 0), generation)
    found = {}
    for spec in slices:
        key, generation = _pool(spec)
        if generation < newest[key]:
            continue
        for one in spec.get("devices") or ():
            # Until v1beta1 the attributes stood one level deeper.
            attributes = one.get("attributes") or (one.get("basic") or {}).get("attributes") or {}
            device = _device(attributes)
            if device is not None:
                found[DraDevice(*key, one["name"])] = device
    return found


def _pool(spec: Any) -> tuple[tuple[str, str], int]:
    pool = spec["pool"]
    return (spec["driver"], pool["name"]), int(pool.get("generation", 0))


def _device(attributes: Mapping[str, Any]) -> Device | None:
    # Names may be written with the driver's domain before them.
    said = {name.rpartition("/")[2]: value for name, value in attributes.items()}
    uuid = (said.get("uuid") or {}).get("string", "")
    if uuid:
        return device_of(uuid)
    if (said.get("type") or {}).get("string", "gpu") != "gpu":
        return None
    number = (said.get("minor") or said.get("index") or {}).get("int")
    return None if number is None else Device(number=int(number))
