"""What the agent tells of itself: its process, its spool, and how sending goes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from costmeter import __version__
from costmeter.agent.page import Sample
from costmeter.tally import Tally

if TYPE_CHECKING:
    from costmeter.agent.spool_file import SpoolState

_PYTHON = ".".join(map(str, sys.version_info[:3]))
_STATM = Path("/proc/self/statm")


def own_samples(tally: Tally, started_ms: int) -> Iterator[Sample]:
    """The process and everything that was counted."""
    yield "costmeter_agent_build_info", (__version__, _PYTHON), 1
    yield "costmeter_agent_start_timestamp_seconds", (), started_ms / 1000
    yield "costmeter_agent_cpu_seconds_total", (), time.process_time()
    resident = resident_bytes()
    if resident is not None:
        yield "costmeter_agent_resident_memory_bytes", (), resident
    for name, series in tally.read().items():
        for labels, value in series.items():
            yield name, labels, value


def spool_samples(state: SpoolState, limit_bytes: int, now_ms: int) -> Iterator[Sample]:
    age_ms = 0 if state.oldest_ms is None else max(0, now_ms - state.oldest_ms)
    yield "costmeter_agent_spool_bytes", (), state.bytes
    yield "costmeter_agent_spool_limit_bytes", (), limit_bytes
    yield "costmeter_agent_spool_segments", (), state.segments
    yield "costmeter_agent_spool_memory_segments", (), state.in_memory
    yield "costmeter_agent_spool_oldest_age_seconds", (), age_ms / 1000
    yield "costmeter_agent_spool_usable", (), int(state.usable)


def resident_bytes() -> int | None:
    """Memory of this process; None where the system does not tell."""
    try:
        pages = int(_STATM.read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
