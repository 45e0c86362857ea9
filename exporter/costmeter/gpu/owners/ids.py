"""Device ids, as device plugins hand them to the kubelet, and the GPUs that they mean."""

from __future__ import annotations

import re
from typing import NamedTuple

from costmeter.gpu.readings import GpuReading

_UUID = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_GPU = re.compile(rf"GPU-{_UUID}")
_MIG = re.compile(rf"MIG-{_UUID}")
#: Until driver 470, MIG instances had no ids of their own.
_OLD_MIG = re.compile(rf"MIG-(GPU-{_UUID})/(\d+)/(\d+)")
#: GKE's own plugin: the device file, a MIG GPU instance, a share of time or of MPS.
_GKE = re.compile(r"nvidia(\d+)(?:/gi(\d+))?(?:/vgpu(\d+))?")
_REPLICA = "::"


class Device(NamedTuple):
    """A GPU by `uuid` or by `number`, or a MIG instance: by its own `mig` uuid, or as
    `gpu_instance` (and `compute_instance`, if said) of that GPU. `replica` is "" for a
    device that is not shared."""

    uuid: str = ""
    number: int | None = None
    mig: str = ""
    gpu_instance: int | None = None
    compute_instance: int | None = None
    replica: str = ""

    @property
    def place(self) -> str | int | None:
        """Under which of a GPU's names this device is found."""
        return self.mig or self.uuid or self.number

    def instances(self, reading: GpuReading) -> tuple[str, ...]:
        """What it holds of this GPU: ("",) for the whole, uuids of MIG instances, () nothing."""
        layout = () if reading.mig is None else reading.mig.instances
        if self.mig:
            return tuple(one.uuid for one in layout if one.uuid == self.mig)
        if self.uuid:
            if self.uuid != reading.uuid:
                return ()
        elif self.number != reading.index:
            return ()
        if self.gpu_instance is None:
            return ("",)
        return tuple(
            one.uuid
            for one in layout
            if one.gpu_instance == self.gpu_instance
            and self.compute_instance in (None, one.compute_instance)
        )


def device_of(text: str) -> Device | None:
    """The device of an id; None for an id of another kind (a network card, an FPGA)."""
    name, cut, replica = text.partition(_REPLICA)
    if cut and not replica:
        return None
    if _GPU.fullmatch(name):
        return Device(uuid=name, replica=replica)
    if _MIG.fullmatch(name):
        return Device(mig=name, replica=replica)
    if old := _OLD_MIG.fullmatch(name):
        return Device(old[1], None, "", int(old[2]), int(old[3]), replica)
    if gke := _GKE.fullmatch(text):
        instance = None if gke[2] is None else int(gke[2])
        return Device("", int(gke[1]), "", instance, None, gke[3] or "")
    return None
