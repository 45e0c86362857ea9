"""The NVIDIA driver's management library, asked so that a refusal is no accident.

pynvml is imported when a session is opened and the driver's library is there: a
machine without a GPU pays for neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from costmeter.gpu.readings import RawReading

LIBRARY = "libnvidia-ml.so.1"

# NVML's return codes (nvml.h, nvmlReturn_enum).
_UNINITIALIZED = 1
_INVALID_ARGUMENT = 2
_NO_PERMISSION = 4
_DRIVER_NOT_LOADED = 9
_LIBRARY_NOT_FOUND = 12
_FUNCTION_NOT_FOUND = 13
_GPU_IS_LOST = 15
_RESET_REQUIRED = 16
_VERSION_MISMATCH = 18
_GPU_NOT_FOUND = 28

#: This GPU needs a new session; the others may be well. A handle from before a driver's
#: restart is refused as an invalid argument.
_LOST = frozenset({_INVALID_ARGUMENT, _GPU_IS_LOST, _RESET_REQUIRED, _GPU_NOT_FOUND})
#: No GPU can be asked any more.
_SESSION_OVER = frozenset(
    {_UNINITIALIZED, _DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND, _VERSION_MISMATCH}
)

_LIBRARY_HINT = (
    "install the NVIDIA driver, or start the container with its GPUs (docker run --gpus all)"
)
_WORDS = {
    _UNINITIALIZED: (
        "session_ended",
        "the NVIDIA driver ended the session; a new one is opened by itself",
    ),
    _NO_PERMISSION: (
        "no_permission",
        (
            "this user may not open the NVIDIA devices: look at the owner of /dev/nvidiactl "
            "and /dev/nvidia0, or run with a user of their group"
        ),
    ),
    _DRIVER_NOT_LOADED: (
        "driver_not_loaded",
        (
            "the NVIDIA driver is not loaded: try nvidia-smi on this machine, load the kernel "
            "module (modprobe nvidia), or start the container with its GPUs"
        ),
    ),
    _LIBRARY_NOT_FOUND: (
        "library_not_found",
        f"{LIBRARY} was not found: {_LIBRARY_HINT}",
    ),
    _FUNCTION_NOT_FOUND: (
        "driver_too_old",
        "the NVIDIA driver is too old to list its GPUs: update it",
    ),
    _GPU_IS_LOST: (
        "gpu_lost",
        (
            "the driver says that a GPU has fallen off the bus: look for Xid errors in the "
            "kernel log (dmesg), then reset the GPU or restart the machine"
        ),
    ),
    _RESET_REQUIRED: ("gpu_lost", "a GPU must be reset (nvidia-smi --gpu-reset)"),
    _VERSION_MISMATCH: (
        "version_mismatch",
        (
            "the NVIDIA driver was updated while it ran, its library and its kernel module "
            "differ: reload the module or restart the machine; where that is done, restart "
            "costmeter"
        ),
    ),
    _GPU_NOT_FOUND: ("gpu_lost", "the driver no longer finds a GPU that it listed"),
}


class NvmlProblem(Exception):
    """Nothing can be read. `kind` is for comparison, the text is for people."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class GpuLost(Exception):
    """One GPU does not answer; the text says why."""


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

    def read(self, device: Device) -> RawReading:
        """Every answer that this GPU has; raises GpuLost or NvmlProblem."""
        nvml, handle = self._nvml, device.handle
        memory = self._memory(handle)
        # Under MIG the counters of the whole GPU mean nothing, whatever they say.
        mig = self._ask(nvml.nvmlDeviceGetMigMode, handle)
        rates = None if mig and mig[0] else self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        reading = RawReading(
            utilization_percent=_percent(rates.gpu) if rates else None,
            memory_utilization_percent=_percent(rates.memory) if rates else None,
            memory_used_bytes=int(memory.used) if memory else None,
            memory_total_bytes=int(memory.total) if memory else None,
            power_mw=self._ask(nvml.nvmlDeviceGetPowerUsage, handle),
            energy_mj=self._ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle),
            temperature_celsius=self._temperature(handle),
        )
        if all(answer is None for answer in reading):
            raise GpuLost("it answers none of NVML's questions")
        return reading

    def close(self) -> None:
        """Give NVML back; a driver that is gone already has nothing to say about it."""
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return

    def _memory(self, handle: Any) -> Any:
        # The second version keeps what the driver reserves apart from what is in use.
        nvml = self._nvml
        version = getattr(nvml, "nvmlMemory_v2", None)
        memory = (
            self._ask(nvml.nvmlDeviceGetMemoryInfo, handle, version, tolerate=_INVALID_ARGUMENT)
            if version is not None
            else None
        )
        return memory if memory is not None else self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)

    def _temperature(self, handle: Any) -> int | None:
        nvml = self._nvml
        newer = getattr(nvml, "nvmlDeviceGetTemperatureV", None)
        celsius = (
            self._ask(newer, handle, nvml.NVML_TEMPERATURE_GPU, tolerate=_INVALID_ARGUMENT)
            if newer is not None
            else None
        )
        if celsius is None:
            celsius = self._ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        return None if celsius is None else int(celsius)

    def _ask(self, question: Callable[..., Any], *args: Any, tolerate: int = 0) -> Any:
        """The answer, or None where this GPU, driver or user has none."""
        try:
            return question(*args)
        except self._nvml.NVMLError as error:
            code = int(error.value)
            if code in _SESSION_OVER:
                raise _problem(code, str(error)) from None
            if code in _LOST and code != tolerate:
                raise GpuLost(_in_words(code, str(error))) from None
            return None


def open_session() -> Session:
    """Load the library, initialise it, list the GPUs; raises NvmlProblem."""
    nvml = _load()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise _problem(int(error.value), str(error)) from None
    try:
        count = int(nvml.nvmlDeviceGetCount())
        devices, unreadable = _list(nvml, count)
        return Session(nvml, devices, unreadable, _driver_version(nvml))
    except nvml.NVMLError as error:
        Session(nvml, (), (), "").close()
        raise _problem(int(error.value), str(error)) from None


def _load() -> Any:
    # ctypes first: it costs little, and it tells a missing library from a broken one.
    import ctypes

    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        if str(error).startswith(f"{LIBRARY}: cannot open shared object file: No such file"):
            raise _problem(_LIBRARY_NOT_FOUND, "") from None
        raise NvmlProblem(
            "library_broken", f"{LIBRARY} cannot be loaded ({error}): {_LIBRARY_HINT}"
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
            if code in _SESSION_OVER:
                raise
            unreadable.append(f"GPU {index}: {_in_words(code, str(error))}")
    return tuple(devices), tuple(unreadable)


def _driver_version(nvml: Any) -> str:
    try:
        return str(nvml.nvmlSystemGetDriverVersion())
    except nvml.NVMLError:
        return "unknown"


def _in_words(code: int, said: str) -> str:
    return _WORDS[code][1] if code in _WORDS else f"NVML says: {said} (code {code})"


def _problem(code: int, said: str) -> NvmlProblem:
    kind = _WORDS[code][0] if code in _WORDS else f"nvml_{code}"
    return NvmlProblem(kind, _in_words(code, said))


def _percent(value: int) -> int | None:
    return int(value) if 0 <= value <= 100 else None
