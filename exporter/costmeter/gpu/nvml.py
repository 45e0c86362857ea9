"""The NVIDIA driver's management library, asked so that a refusal is no accident.

pynvml is imported when a session is opened and the driver's library is there: a
machine without a GPU pays for neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from costmeter.gpu.nvml_ask import Asker
from costmeter.gpu.nvml_card import Card
from costmeter.gpu.nvml_words import (
    LIBRARY,
    LIBRARY_HINT,
    LIBRARY_NOT_FOUND,
    SESSION_OVER,
    GpuLost,
    NvmlProblem,
    in_words,
    problem_of,
)
from costmeter.gpu.nvml_xids import Xids
from costmeter.gpu.readings import RawReading

__all__ = ["Device", "GpuLost", "NvmlProblem", "Session", "open_session"]


@dataclass(frozen=True, slots=True)
class Device:
    index: int
    uuid: str
    name: str
    handle: Any


class Session:
    """An initialised NVML with the GPUs that it listed.

    `unreadable` says for each listed GPU that would not tell its name what is wrong.
    """

    def __init__(
        self,
        nvml: Any,
        devices: tuple[Device, ...],
        unreadable: tuple[str, ...],
        driver_version: str,
    ) -> None:
        self._nvml = nvml
        self.devices = devices
        self.unreadable = unreadable
        self.driver_version = driver_version
        self._cards = {one.uuid: Card(nvml, one.handle) for one in devices}
        self._xids = Xids(nvml, ((one.uuid, one.handle) for one in devices))

    @property
    def nvml_seconds(self) -> float:
        """Time in the driver's functions since the session was opened, where Asker.timer is set."""
        return sum(asker.seconds for asker in self._askers())

    @property
    def nvml_calls(self) -> int:
        """How many of them."""
        return sum(asker.calls for asker in self._askers())

    @property
    def reporting(self) -> tuple[str, ...]:
        """The uuids of those GPUs that report Xid errors."""
        return self._xids.reporting

    def read(self, device: Device, now_ms: int) -> RawReading:
        """Every answer that this GPU has at this steady time; raises GpuLost or NvmlProblem."""
        return self._cards[device.uuid].read(now_ms)

    def xids(self) -> list[tuple[str, int]]:
        """(uuid, Xid) of each error that was reported since the last call."""
        return self._xids.collect()

    def _askers(self) -> list[Asker]:
        return [self._xids.asker, *(card.asker for card in self._cards.values())]

    def count(self) -> int | None:
        """How many GPUs the driver lists now; None where it does not say."""
        try:
            return int(self._nvml.nvmlDeviceGetCount())
        except self._nvml.NVMLError:
            return None

    def close(self) -> None:
        """Give NVML back; a driver that is gone already has nothing to say about it."""
        parts: list[Xids | Card] = [self._xids, *self._cards.values()]
        for part in parts:
            try:
                part.close()
            except (GpuLost, NvmlProblem):
                continue
        _shut_down(self._nvml)


def open_session() -> Session:
    """Load the library, initialise it, list the GPUs; raises NvmlProblem."""
    nvml = _load()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise problem_of(int(error.value), str(error)) from None
    try:
        count = int(nvml.nvmlDeviceGetCount())
        devices, unreadable = _list(nvml, count)
        return Session(nvml, devices, unreadable, _driver_version(nvml))
    except (NvmlProblem, GpuLost):
        _shut_down(nvml)
        raise
    except nvml.NVMLError as error:
        _shut_down(nvml)
        raise problem_of(int(error.value), str(error)) from None


def _shut_down(nvml: Any) -> None:
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return


def _load() -> Any:
    # ctypes first: it costs little, and it tells a missing library from a broken one.
    import ctypes

    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        if str(error).startswith(f"{LIBRARY}: cannot open shared object file: No such file"):
            raise problem_of(LIBRARY_NOT_FOUND, "") from None
        raise NvmlProblem(
            "library_broken", f"{LIBRARY} cannot be loaded ({error}): {LIBRARY_HINT}"
        ) from None
    try:
        import pynvml
    except ImportError as error:
        raise NvmlProblem(
            "package_missing", f"the Python package nvidia-ml-py cannot be imported ({error})"
        ) from None
    return pynvml


def _list(nvml: Any, count: int) -> tuple[tuple[Device, ...], tuple[str, ...]]:
    devices: list[Device] = []
    unreadable: list[str] = []
    for index in range(count):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            devices.append(
                Device(
                    index, nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle), handle
                )
            )
        except nvml.NVMLError as error:
            code = int(error.value)
            if code in SESSION_OVER:
                raise
            unreadable.append(f"GPU {index}: {in_words(code, str(error))}")
    return tuple(devices), tuple(unreadable)


def _driver_version(nvml: Any) -> str:
    try:
        return str(nvml.nvmlSystemGetDriverVersion())
    except nvml.NVMLError:
        return "unknown"
