"""What NVML's refusals mean: which of them end a session, lose a GPU, or mean no answer."""

from __future__ import annotations

LIBRARY = "libnvidia-ml.so.1"

# NVML's return codes (nvml.h, nvmlReturn_enum).
UNINITIALIZED = 1
INVALID_ARGUMENT = 2
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
DRIVER_NOT_LOADED = 9
TIMEOUT = 10
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
VERSION_MISMATCH = 18
GPU_NOT_FOUND = 28

#: This GPU needs a new session; the others may be well. A handle from before a driver's
#: restart is refused as an invalid argument.
LOST = frozenset({INVALID_ARGUMENT, GPU_IS_LOST, RESET_REQUIRED, GPU_NOT_FOUND})
#: No GPU can be asked any more.
SESSION_OVER = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, VERSION_MISMATCH})

LIBRARY_HINT = (
    "install the NVIDIA driver, or start the container with its GPUs (docker run --gpus all)"
)
#: This GPU will not answer this question as long as the session lasts.
FOR_GOOD = frozenset({NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND})

_WORDS = {
    UNINITIALIZED: (
        "session_ended",
        "the NVIDIA driver ended the session; a new one is opened by itself",
    ),
    NO_PERMISSION: (
        "no_permission",
        (
            "this user may not open the NVIDIA devices: look at the owner of /dev/nvidiactl "
            "and /dev/nvidia0, or run with a user of their group"
        ),
    ),
    DRIVER_NOT_LOADED: (
        "driver_not_loaded",
        (
            "the NVIDIA driver is not loaded: try nvidia-smi on this machine, load the kernel "
            "module (modprobe nvidia), or start the container with its GPUs"
        ),
    ),
    LIBRARY_NOT_FOUND: (
        "library_not_found",
        f"{LIBRARY} was not found: {LIBRARY_HINT}",
    ),
    FUNCTION_NOT_FOUND: (
        "driver_too_old",
        "the NVIDIA driver is too old to list its GPUs: update it",
    ),
    GPU_IS_LOST: (
        "gpu_lost",
        (
            "the driver says that a GPU has fallen off the bus: look for Xid errors in the "
            "kernel log (dmesg), then reset the GPU or restart the machine"
        ),
    ),
    RESET_REQUIRED: ("gpu_lost", "a GPU must be reset (nvidia-smi --gpu-reset)"),
    VERSION_MISMATCH: (
        "version_mismatch",
        (
            "the NVIDIA driver was updated while it ran, its library and its kernel module "
            "differ: reload the module or restart the machine; where that is done, restart "
            "costmeter"
        ),
    ),
    GPU_NOT_FOUND: ("gpu_lost", "the driver no longer finds a GPU that it listed"),
}


class NvmlProblem(Exception):
    """Nothing can be read. `kind` is for comparison, the text is for people."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class GpuLost(Exception):
    """One GPU does not answer; the text says why."""


def in_words(code: int, said: str) -> str:
    return _WORDS[code][1] if code in _WORDS else f"NVML says: {said} (code {code})"


def problem_of(code: int, said: str) -> NvmlProblem:
    kind = _WORDS[code][0] if code in _WORDS else f"nvml_{code}"
    return NvmlProblem(kind, in_words(code, said))
