"""Device ids of NVIDIA's plugin, of GKE's and of old drivers, and the GPUs they mean."""

from __future__ import annotations

import pytest

from costmeter.gpu.owners.ids import Device, device_of
from costmeter.gpu.readings import GpuReading, MigInstance, MigLayout

UUID = "GPU-8f6d2c1a-0b3e-4c5d-9e7f-a1b2c3d4e5f6"
OTHER = "GPU-00000000-0b3e-4c5d-9e7f-a1b2c3d4e5f6"
MIGS = tuple(f"MIG-{n}f6d2c1a-0b3e-5c5d-9e7f-a1b2c3d4e5f6" for n in range(3))
#: Two GPU instances; the second is shared by two compute instances.
LAYOUT = MigLayout(
    7,
    (
        MigInstance(MIGS[0], 1, 0, "3g.40gb", 3),
        MigInstance(MIGS[1], 5, 0, "1c.2g.20gb", 1),
        MigInstance(MIGS[2], 5, 1, "1c.2g.20gb", 1),
    ),
)
WHOLE = GpuReading(3, UUID, "H100", 0, 0, True)
CUT = GpuReading(3, UUID, "H100", 0, 0, True, mig=LAYOUT)


@pytest.mark.parametrize(
    ("text", "whole", "cut", "replica"),
    [
        (UUID, ("",), ("",), ""),
        (f"{UUID}::2", ("",), ("",), "2"),
        (OTHER, (), (), ""),
        (MIGS[1], (), (MIGS[1],), ""),
        (f"{MIGS[1]}::0", (), (MIGS[1],), "0"),
        (f"MIG-{UUID}/5/1", (), (MIGS[2],), ""),
        (f"MIG-{UUID}/5/2", (), (), ""),
        (f"MIG-{OTHER}/5/1", (), (), ""),
        ("nvidia3", ("",), ("",), ""),
        ("nvidia30", (), (), ""),
        ("nvidia3/vgpu4", ("",), ("",), "4"),
        ("nvidia3/gi1", (), (MIGS[0],), ""),
        ("nvidia3/gi5/vgpu0", (), (MIGS[1], MIGS[2]), "0"),
        ("nvidia3/gi7", (), (), ""),
    ],
)
def test_what_an_id_means(
    text: str, whole: tuple[str, ...], cut: tuple[str, ...], replica: str
) -> None:
    device = device_of(text)
    assert device is not None
    assert (device.instances(WHOLE), device.instances(CUT)) == (whole, cut)
    assert device.replica == replica


@pytest.mark.parametrize(
    "text", ["", "mlx5_0", "GPU-", f"{UUID}::", f"{UUID}/1", "nvidia", "nvidia3/gi", "MIG-x", "0"]
)
def test_ids_of_other_things(text: str) -> None:
    assert device_of(text) is None


def test_where_a_device_is_looked_for() -> None:
    assert Device(number=0).place == 0
    assert Device(UUID, gpu_instance=1).place == UUID
    assert Device(mig=MIGS[0]).place == MIGS[0]
