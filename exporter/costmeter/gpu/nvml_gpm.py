"""The GPU's own performance counters (GPM, Hopper and newer): two samples give averages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from costmeter.gpu.nvml_ask import Asker

# nvmlGpmMetricId_t of nvml.h.
GRAPHICS, SM, OCCUPANCY, TENSOR, DRAM, FP64, FP32, FP16 = 1, 2, 3, 5, 10, 11, 12, 13
PCIE_TRANSMIT, PCIE_RECEIVE = 20, 21
MIB = 1 << 20

WHOLE = (SM, OCCUPANCY, TENSOR, DRAM, FP64, FP32, FP16, PCIE_TRANSMIT, PCIE_RECEIVE)
CUT = (GRAPHICS, SM, TENSOR, DRAM)
_NOTHING: Mapping[int, float] = {}


class Gpm:
    """Follows one GPU, or one of its GPU instances, with the samples of two passes.

    The structures are made once: one of pynvml's holds every metric that there is, 23 KB.
    """

    def __init__(self, asker: Asker, handle: Any, metrics: tuple[int, ...], instance: int = -1):
        self._asker = asker
        self._handle = handle
        self._metrics = metrics
        self._instance = instance
        self._key = "gpm" if instance < 0 else f"gpm.{instance}"
        self._taken: Any = None
        self._spare: Any = None
        self._question: Any = None
        self._answers: tuple[tuple[int, Any], ...] = ()
        self._fields: tuple[Callable[[Any], Any], Callable[[Any], Any]] = (_unknown, _unknown)

    def read(self) -> Mapping[int, float]:
        """Metric to average since the previous call; empty at the first, and without GPM."""
        asker, key = self._asker, self._key
        if asker.refused("gpm.support") or asker.refused(key):
            return _NOTHING
        if self._question is None and not self._begin():
            return _NOTHING
        if self._instance < 0:
            got = asker.ask(key, "nvmlGpmSampleGet", self._handle, self._spare)
        else:
            got = asker.ask(
                key, "nvmlGpmMigSampleGet", self._handle, self._instance, self._spare, tolerate=2
            )
        if got is None:
            return _NOTHING
        before, self._taken = self._taken, self._spare
        if before is None:
            self._spare = asker.ask("gpm.alloc", "nvmlGpmSampleAlloc")
            return _NOTHING
        self._spare = before
        question = self._question
        question.sample1, question.sample2 = before, self._taken
        if asker.ask("gpm.metrics", "nvmlGpmMetricsGet", question, tolerate=2) is None:
            return _NOTHING
        answers = {}
        # The fields themselves: pynvml's own way to an attribute takes four times as long.
        refused, value_of = self._fields
        for metric, answer in self._answers:
            # What a card does not count is not a number, or refused on its own.
            if refused(answer) == 0 and 0 <= (value := value_of(answer)) < 1e12:
                answers[metric] = value
        return answers

    @property
    def works(self) -> bool:
        return self._taken is not None

    def close(self) -> None:
        """Give the samples back, while NVML is still open."""
        for sample in (self._taken, self._spare):
            if sample is not None:
                self._asker.ask("gpm.free", "nvmlGpmSampleFree", sample, tolerate=2)
        self._taken = self._spare = self._question = None
        self._answers = ()

    def _begin(self) -> bool:
        asker, nvml = self._asker, self._asker.nvml
        support = asker.ask("gpm.support", "nvmlGpmQueryDeviceSupport", self._handle, tolerate=2)
        if support is None or not support.isSupportedDevice:
            asker.refuse("gpm.support")
            return False
        self._spare = asker.ask("gpm.alloc", "nvmlGpmSampleAlloc")
        if self._spare is None:
            return False
        self._question = nvml.c_nvmlGpmMetricsGet_t()
        self._question.version = nvml.NVML_GPM_METRICS_GET_VERSION
        self._question.numMetrics = len(self._metrics)
        answers = [self._question.metrics[position] for position in range(len(self._metrics))]
        for metric, answer in zip(self._metrics, answers, strict=True):
            answer.metricId = metric
        self._answers = tuple(zip(self._metrics, answers, strict=True))
        kind = nvml.c_nvmlGpmMetric_t
        self._fields = (kind.nvmlReturn.__get__, kind.value.__get__)
        return True


def _unknown(_: Any) -> Any:
    return None


def percent(answers: Mapping[int, float], metric: int) -> float | None:
    """A percentage, cut to 100: a counter's rounding may lie a little over it."""
    value = answers.get(metric)
    return None if value is None or value > 101 else min(100.0, value)


def bytes_per_second(answers: Mapping[int, float], metric: int) -> int | None:
    """GPM gives MiB a second."""
    value = answers.get(metric)
    return None if value is None else round(value * MIB)
