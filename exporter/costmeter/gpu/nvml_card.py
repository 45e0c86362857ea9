"""Everything that one GPU is asked in a pass, and what it is asked only now and then."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from costmeter.gpu import nvml_gpm as gpm
from costmeter.gpu.nvml_ask import Asker
from costmeter.gpu.nvml_fields import (
    ALL_LINKS,
    MEMORY_TEMPERATURE,
    NVLINK_RECEIVED_KIB,
    NVLINK_TRANSMITTED_KIB,
    Fields,
)
from costmeter.gpu.nvml_gpm import Gpm, bytes_per_second, percent
from costmeter.gpu.nvml_health import HealthQuestions
from costmeter.gpu.nvml_mig import Mig, of_instances
from costmeter.gpu.nvml_processes import Processes
from costmeter.gpu.nvml_words import INVALID_ARGUMENT, GpuLost
from costmeter.gpu.readings import NO_HEALTH, Activity, MigLayout, RawReading

#: Between two rounds of the questions that take long or whose answers change seldom.
HEALTH_EVERY_MS = 10_000

_SM_CLOCK, _MEMORY_CLOCK, _VIDEO_CLOCK = 1, 2, 3
_TRANSMIT, _RECEIVE = 0, 1
_CORE = 0
#: The bits of nvmlClocksEventReason* in nvml.h.
_REASONS = {
    0x1: "gpu_idle",
    0x2: "applications_clocks",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake",
    0x100: "display_clocks",
}
_ALL_LINKS_SENT = (NVLINK_TRANSMITTED_KIB, ALL_LINKS)
_ALL_LINKS_GOT = (NVLINK_RECEIVED_KIB, ALL_LINKS)
_MEMORY_HEAT = (MEMORY_TEMPERATURE, 0)


class Card:
    """Asks one GPU of a session. `asker` knows what it refused and how long it took."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self.asker = Asker(nvml)
        self._handle = handle
        self._mig_mode: bool | None = None
        self._mig: Mig | None = None
        self._gpm = Gpm(self.asker, handle, gpm.WHOLE)
        self._processes = Processes(self.asker, handle)
        self._fields = Fields(self.asker, handle, _MEMORY_HEAT, _ALL_LINKS_SENT, _ALL_LINKS_GOT)
        self._questions = HealthQuestions(self.asker, handle)
        self._health = NO_HEALTH
        self._health_at_ms: int | None = None
        self._pcie: tuple[int | None, int | None] = (None, None)

    def read(self, now_ms: int) -> RawReading:
        """Every answer that this GPU has at this steady time; raises GpuLost or NvmlProblem."""
        layout = self._layout()
        memory = self._memory()
        # Under MIG the counters of the whole GPU mean nothing, whatever they say.
        cut = layout is not None
        rates = None if cut else self._ask("rates", "nvmlDeviceGetUtilizationRates")
        basics = RawReading(
            utilization_percent=_percent(rates.gpu) if rates else None,
            memory_utilization_percent=_percent(rates.memory) if rates else None,
            memory_used_bytes=int(memory.used) if memory else None,
            memory_total_bytes=int(memory.total) if memory else None,
            power_mw=self._ask("power", "nvmlDeviceGetPowerUsage"),
            energy_mj=self._ask("energy", "nvmlDeviceGetTotalEnergyConsumption"),
            temperature_celsius=self._temperature(),
        )
        if not any(answer is not None for answer in basics[:7]):
            raise GpuLost("it answers none of NVML's questions")
        answers = {} if cut else self._gpm.read()
        if self._health_at_ms is None or now_ms - self._health_at_ms >= HEALTH_EVERY_MS:
            self._health_at_ms = now_ms
            self._health = self._questions.read()
            self._pcie = self._pcie_traffic()
        return basics._replace(
            mig=layout,
            processes=self._listed(layout),
            activity=self._activity(memory, answers),
            health=self._health,
        )

    def close(self) -> None:
        """Give back what belongs to this session."""
        self._gpm.close()
        if self._mig is not None:
            self._mig.close()

    def _ask(self, key: str, function: str, *args: Any, tolerate: int = 0) -> Any:
        return self.asker.ask(key, function, self._handle, *args, tolerate=tolerate)

    def _layout(self) -> MigLayout | None:
        answer = self._ask("mig.mode", "nvmlDeviceGetMigMode")
        mode = None if answer is None else bool(answer[0])
        if mode != self._mig_mode:
            if self._mig_mode is not None:
                # What a whole GPU refuses a cut one may answer, and the other way round.
                self.asker.forget()
                self._gpm.close()
                self._health_at_ms = None
            if self._mig is not None:
                self._mig.close()
            self._mig_mode = mode
            self._mig = Mig(self.asker, self._handle) if mode else None
        return self._mig.read() if self._mig is not None else None

    def _memory(self) -> Any:
        # The second version keeps what the driver reserves apart from what is in use.
        version = getattr(self.asker.nvml, "nvmlMemory_v2", None)
        memory = (
            self._ask("memory.2", "nvmlDeviceGetMemoryInfo", version, tolerate=INVALID_ARGUMENT)
            if version is not None
            else None
        )
        return memory if memory is not None else self._ask("memory", "nvmlDeviceGetMemoryInfo")

    def _temperature(self) -> int | None:
        celsius = self._ask(
            "temperature.2", "nvmlDeviceGetTemperatureV", _CORE, tolerate=INVALID_ARGUMENT
        )
        if celsius is None:
            celsius = self._ask("temperature", "nvmlDeviceGetTemperature", _CORE)
        return None if celsius is None else int(celsius)

    def _listed(self, layout: MigLayout | None) -> Any:
        if layout is None or self._mig is None:
            return self._processes.whole()
        return of_instances(self._processes.cut(self._mig.uuids(), self._mig.handles))

    def _activity(self, memory: Any, answers: Mapping[int, float]) -> Activity:
        fields = self._fields.read()
        sent, got = fields.get(_ALL_LINKS_SENT), fields.get(_ALL_LINKS_GOT)
        transmit, receive = self._pcie
        encoder = self._ask("encoder", "nvmlDeviceGetEncoderUtilization")
        decoder = self._ask("decoder", "nvmlDeviceGetDecoderUtilization")
        state = self._ask("state", "nvmlDeviceGetPerformanceState")
        return Activity(
            memory_free_bytes=int(memory.free) if memory else None,
            memory_reserved_bytes=_reserved(memory),
            sm_utilization_percent=percent(answers, gpm.SM),
            sm_occupancy_percent=percent(answers, gpm.OCCUPANCY),
            tensor_utilization_percent=percent(answers, gpm.TENSOR),
            dram_utilization_percent=percent(answers, gpm.DRAM),
            fp64_utilization_percent=percent(answers, gpm.FP64),
            fp32_utilization_percent=percent(answers, gpm.FP32),
            fp16_utilization_percent=percent(answers, gpm.FP16),
            encoder_utilization_percent=_percent(encoder[0]) if encoder else None,
            decoder_utilization_percent=_percent(decoder[0]) if decoder else None,
            memory_temperature_celsius=fields.get(_MEMORY_HEAT),
            sm_clock_mhz=self._clock(_SM_CLOCK),
            memory_clock_mhz=self._clock(_MEMORY_CLOCK),
            video_clock_mhz=self._clock(_VIDEO_CLOCK),
            # 32 is NVML's word for a state that nobody knows.
            performance_state=state if state is not None and state < 16 else None,
            throttle_reasons=self._reasons(),
            pcie_transmit_bytes_per_second=(
                transmit
                if gpm.PCIE_TRANSMIT not in answers
                else bytes_per_second(answers, gpm.PCIE_TRANSMIT)
            ),
            pcie_receive_bytes_per_second=(
                receive
                if gpm.PCIE_RECEIVE not in answers
                else bytes_per_second(answers, gpm.PCIE_RECEIVE)
            ),
            nvlink_transmitted_bytes=None if sent is None else sent << 10,
            nvlink_received_bytes=None if got is None else got << 10,
            mig_enabled=self._mig_mode,
        )

    def _clock(self, which: int) -> int | None:
        mhz: int | None = self._ask(
            f"clock.{which}", "nvmlDeviceGetClockInfo", which, tolerate=INVALID_ARGUMENT
        )
        return mhz

    def _reasons(self) -> frozenset[str] | None:
        bits = self._ask("reasons", "nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # its name in older drivers
            bits = self._ask("reasons.1", "nvmlDeviceGetCurrentClocksThrottleReasons")
        return None if bits is None else _named(bits)

    def _pcie_traffic(self) -> tuple[int | None, int | None]:
        """Bytes a second out and in. The driver counts for 20 ms while it is asked."""
        if self._gpm.works:
            return None, None
        kib = [
            self._ask(f"pcie.{way}", "nvmlDeviceGetPcieThroughput", way, tolerate=INVALID_ARGUMENT)
            for way in (_TRANSMIT, _RECEIVE)
        ]
        transmit, receive = (None if one is None else one << 10 for one in kib)
        return transmit, receive


@lru_cache(maxsize=256)
def _named(bits: int) -> frozenset[str]:
    return frozenset(name for bit, name in _REASONS.items() if bits & bit)


def _reserved(memory: Any) -> int | None:
    reserved = getattr(memory, "reserved", None)
    return None if reserved is None else int(reserved)


def _percent(value: int) -> int | None:
    return int(value) if 0 <= value <= 100 else None
