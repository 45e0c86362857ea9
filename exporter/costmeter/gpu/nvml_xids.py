"""Errors that the driver reports of its own accord (Xid), collected in each pass.

The driver keeps events until somebody asks, so nothing is lost between two passes, and no
thread sits in the driver when NVML has to be closed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

from costmeter.gpu.nvml_ask import Asker
from costmeter.gpu.nvml_words import INVALID_ARGUMENT, GpuLost

_XID_CRITICAL = 0x8
#: A storm of errors must not keep a pass waiting.
_MOST_IN_A_PASS = 1_000


class Xids:
    """The events of a session's GPUs; `reporting` are those that can report at all."""

    def __init__(self, nvml: Any, devices: Iterable[tuple[str, Any]]) -> None:
        self.asker = Asker(nvml)
        self._by_handle: dict[int | None, str] = {}
        self._events: Any = self.asker.ask("create", "nvmlEventSetCreate")
        if self._events is None:
            return
        for uuid, handle in devices:
            if self._register(uuid, handle):
                self._by_handle[_address(handle)] = uuid

    @property
    def reporting(self) -> tuple[str, ...]:
        return tuple(self._by_handle.values())

    def collect(self) -> list[tuple[str, int]]:
        """(uuid, Xid) of each error since the previous call; raises NvmlProblem or GpuLost."""
        found: list[tuple[str, int]] = []
        while self._by_handle and len(found) < _MOST_IN_A_PASS:
            event = self.asker.ask("wait", "nvmlEventSetWait", self._events, 0)
            if event is None:
                break
            uuid = self._by_handle.get(_address(event.device))
            if uuid is not None and event.eventType & _XID_CRITICAL:
                found.append((uuid, int(event.eventData)))
        return found

    def close(self) -> None:
        """Give the set back, while NVML is still open."""
        if self._events is not None:
            events, self._events = self._events, None
            self._by_handle.clear()
            self.asker.tell("free", "nvmlEventSetFree", events, tolerate=INVALID_ARGUMENT)

    def _register(self, uuid: str, handle: Any) -> bool:
        try:
            return self.asker.tell(
                uuid,
                "nvmlDeviceRegisterEvents",
                handle,
                _XID_CRITICAL,
                self._events,
                tolerate=INVALID_ARGUMENT,
            )
        except GpuLost:
            return False  # the pass asks it, too, and counts it as lost


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value
