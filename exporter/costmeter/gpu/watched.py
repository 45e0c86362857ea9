"""The calls that a pass makes into the driver, and what it remembers of each GPU."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from costmeter.clock import Clock
from costmeter.gpu.nvml import Device, NvmlProblem, Session
from costmeter.gpu.readings import RawReading
from costmeter.gpu.track import Track


class Survey(NamedTuple):
    """What the driver reported of its own accord, and how many GPUs it lists now."""

    xids: list[tuple[str, int]]
    listed: int


Answer = tuple[RawReading, int, int]


@dataclass(slots=True)
class Watched:
    """A GPU of the present session. One that is `lost` needs another session."""

    device: Device
    track: Track
    lost: bool = False
    pending: Future[Answer] | None = None
    asked_ms: int = 0

    def hangs(self) -> bool:
        return self.pending is not None and not self.pending.done()


def reopen(old: Session | None, opener: Callable[[], Session]) -> Session:
    """A new session in place of the old one; raises NvmlProblem.

    A lost GPU comes back only to an NVML that was shut down in between.
    """
    if old is not None:
        old.close()
    session = opener()
    if session.devices or session.unreadable:
        return session
    session.close()
    raise NvmlProblem("no_gpu", "the NVIDIA driver works, but it lists no GPU")


def read(session: Session, device: Device, clock: Clock) -> Answer:
    """The GPU's answers with the wall and steady time at which they came."""
    raw = session.read(device, clock.monotonic_ms())
    return raw, clock.now_ms(), clock.monotonic_ms()


def survey(session: Session) -> Survey:
    """Collect what concerns no GPU alone; raises NvmlProblem."""
    return Survey(session.xids(), session.count() or 0)
