"""The questions that are asked some seconds apart: limits, errors of memory and of links."""

from __future__ import annotations

from typing import Any

from costmeter.gpu.nvml_ask import Asker
from costmeter.gpu.nvml_fields import (
    NVLINK_BY_LINK,
    NVLINK_LINK_COUNT,
    NVLINK_TOTALS,
    Fields,
)
from costmeter.gpu.nvml_words import INVALID_ARGUMENT
from costmeter.gpu.readings import Health

# Numbers of nvml.h: temperature thresholds, kinds of memory errors, causes of retirement.
_SHUTDOWN, _SLOWDOWN, _MEMORY_MAX, _GPU_MAX = 0, 1, 2, 3
_CORRECTED, _UNCORRECTED = 0, 1
_VOLATILE, _AGGREGATE = 0, 1
_BY_SINGLE_BITS, _BY_DOUBLE_BITS = 0, 1
#: No card has more links than this.
_MOST_LINKS = 72


class HealthQuestions:
    """Asks one GPU."""

    def __init__(self, asker: Asker, handle: Any) -> None:
        self._asker = asker
        self._handle = handle
        self._links = Fields(asker, handle, (NVLINK_LINK_COUNT, 0))
        self._totals = Fields(asker, handle, *((field, 0) for field in NVLINK_TOTALS.values()))

    def read(self) -> Health:
        rows = self._ask("rows", "nvmlDeviceGetRemappedRows")
        corrected, uncorrected, pending, failed = rows or (None, None, None, None)
        active = self._active_links()
        waiting = self._ask("retirement.pending", "nvmlDeviceGetRetiredPagesPendingStatus")
        return Health(
            power_limit_mw=self._ask("power.limit", "nvmlDeviceGetEnforcedPowerLimit"),
            shutdown_celsius=self._threshold(_SHUTDOWN),
            slowdown_celsius=self._threshold(_SLOWDOWN),
            gpu_max_celsius=self._threshold(_GPU_MAX),
            memory_max_celsius=self._threshold(_MEMORY_MAX),
            ecc_corrected_volatile=self._ecc(_CORRECTED, _VOLATILE),
            ecc_uncorrected_volatile=self._ecc(_UNCORRECTED, _VOLATILE),
            ecc_corrected_aggregate=self._ecc(_CORRECTED, _AGGREGATE),
            ecc_uncorrected_aggregate=self._ecc(_UNCORRECTED, _AGGREGATE),
            retired_pages_corrected=self._retired(_BY_SINGLE_BITS),
            retired_pages_uncorrected=self._retired(_BY_DOUBLE_BITS),
            retirement_pending=None if waiting is None else bool(waiting),
            remapped_rows_corrected=corrected,
            remapped_rows_uncorrected=uncorrected,
            remap_pending=None if pending is None else bool(pending),
            remap_failed=None if failed is None else bool(failed),
            pcie_replays=self._ask("pcie.replays", "nvmlDeviceGetPcieReplayCounter"),
            nvlink_active_links=None if active is None else len(active),
            nvlink_errors=self._link_errors(active) if active else None,
            fan_percent=self._ask("fan", "nvmlDeviceGetFanSpeed"),
        )

    def _ask(self, key: str, function: str, *args: Any) -> Any:
        return self._asker.ask(key, function, self._handle, *args, tolerate=INVALID_ARGUMENT)

    def _threshold(self, which: int) -> int | None:
        celsius: int | None = self._ask(
            f"threshold.{which}", "nvmlDeviceGetTemperatureThreshold", which
        )
        # Some cards give 0 for one that they do not have.
        return celsius or None

    def _ecc(self, kind: int, lifetime: int) -> int | None:
        count: int | None = self._ask(
            f"ecc.{kind}.{lifetime}", "nvmlDeviceGetTotalEccErrors", kind, lifetime
        )
        return count

    def _retired(self, cause: int) -> int | None:
        pages = self._ask(f"retired.{cause}", "nvmlDeviceGetRetiredPages", cause)
        return None if pages is None else len(pages)

    def _active_links(self) -> list[int] | None:
        """The links that are up; None on a card without NVLink."""
        count = self._links.read().get((NVLINK_LINK_COUNT, 0))
        active: list[int] = []
        asked = False
        for link in range(_MOST_LINKS if count is None else min(count, _MOST_LINKS)):
            state = self._ask(f"nvlink.{link}", "nvmlDeviceGetNvLinkState", link)
            if state is None:
                break
            asked = True
            if state:
                active.append(link)
        return active if asked else None

    def _link_errors(self, active: list[int]) -> tuple[tuple[str, int], ...] | None:
        totals = self._totals.read()
        if totals:
            return tuple(
                (kind, totals[field, 0])
                for kind, field in NVLINK_TOTALS.items()
                if (field, 0) in totals
            )
        asked = [(field, link) for field in NVLINK_BY_LINK.values() for link in active]
        by_link = Fields(self._asker, self._handle, *asked).read()
        sums = [
            (kind, sum(count for (one, _), count in by_link.items() if one == field))
            for kind, field in NVLINK_BY_LINK.items()
            if any(one == field for one, _ in by_link)
        ]
        return tuple(sums) or None
