"""What real GPUs did, metered and booked: every hour bears its price to the nano-dollar."""

from __future__ import annotations

import csv
import json
import os
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from costmeter.gpu.claims import Claim
from costmeter.gpu.costs import Costs
from costmeter.gpu.meter import GpuMeter
from costmeter.gpu.readings import GpuReading, RawReading, Round
from costmeter.gpu.track import Track
from costmeter.ledger.gpu_spend import gpu_spend
from costmeter.model import GPU_TIME_CLASSES, MS_PER_HOUR
from costmeter.segment import Owner, Placement, segment_usages
from fakes.nvml.lab import PROJECT
from faults.ledgers import Ledger

FOLDER = Path(os.environ.get("COSTMETER_DATA", PROJECT / "../shared/data"))
NANO_PER_HOUR, NANO_PER_KWH = 3_673_000_007, 123_456_789
PRICES = """\
prices:
  - {provider: onprem, model: H100, source: test, usd_per_hour: {gpu: '3.673000007'},
     own: {usd_per_kwh: '0.123456789'}}
"""
OWNER = Owner("acme", "prod", "search", namespace="ml", pod="w-0")


class Gpu(NamedTuple):
    """What a trace says of one GPU at a moment."""

    held: bool = True
    percent: int | None = None
    milliwatts: int | None = None


class Frame(NamedTuple):
    at_ms: int
    gpus: Sequence[Gpu]


class Price(NamedTuple):
    nano_per_gpu_hour: int = NANO_PER_HOUR
    nano_per_kwh: int | None = NANO_PER_KWH

    def of(self, placement: Placement, gpu_model: str, at_ms: int) -> Price:
        return self


def replay(frames: Iterable[Frame], folder: Path, longest_gap_seconds: int) -> dict[str, int]:
    """Meter and book the frames; what the ledger has by class. It is checked to the nano."""
    held: dict[str, bool] = {}

    class Held:
        def of(self, reading: GpuReading) -> tuple[Claim, ...]:
            return (Claim(OWNER),) if held[reading.uuid] else ()

    tracks: dict[str, Track] = {}
    spans: dict[str, tuple[int, int]] = {}
    by_hour: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    with Ledger(folder, price_text=PRICES) as ledger:
        costs = Costs(Price(), linger_ms=10**12)
        meter = GpuMeter(
            ledger.clock, Placement(node="n"), claims=Held(), costs=costs, segment_seconds=300,
            longest_gap_seconds=longest_gap_seconds,
        )  # fmt: skip

        def book() -> None:
            segments = meter.drain()
            for segment in segments:
                assert sum(share.total_ms for share in segment.shares) == segment.duration_ms
                found = by_hour[segment.uuid, segment.start_ms // MS_PER_HOUR]
                found[0] += segment.duration_ms
                found[1] += sum(share.energy_mj or 0 for share in segment.shares)
            ledger.book(*(u for segment in segments for u in segment_usages(segment, "gpu")))
            meter.confirm(len(segments))

        begun_ms = None
        for frame in frames:
            begun_ms = frame.at_ms if begun_ms is None else begun_ms
            behind_ms = frame.at_ms - begun_ms - (ledger.clock.monotonic_ms() - 1_000)
            ledger.clock.advance(behind_ms / 1000)
            at = (ledger.clock.now_ms(), ledger.clock.monotonic_ms())
            readings = []
            for index, gpu in enumerate(frame.gpus):
                uuid = f"GPU-{index}"
                held[uuid] = gpu.held
                raw = RawReading(utilization_percent=gpu.percent, power_mw=gpu.milliwatts)
                track = tracks.setdefault(uuid, Track(uuid, 1_000 * longest_gap_seconds))
                readings.append(track.take(index, "H100", raw, *at))
                spans[uuid] = (spans.get(uuid, (at[1], 0))[0], at[1])
            meter.observe(Round(tuple(readings)))
            if meter.waiting >= 500:
                book()
        meter.close()
        book()

        (found,) = gpu_spend(ledger.store.connection, [])
        observed_ms = sum(end - begin for begin, end in spans.values())
        assert sum(found.pieces[name] for name in GPU_TIME_CLASSES) == observed_ms
        # An hour's time and its energy are rounded half to even, once each.
        assert found.net == sum(
            round(Fraction(NANO_PER_HOUR * ms, MS_PER_HOUR))
            + round(Fraction(NANO_PER_KWH * mj, 3_600_000_000))
            for ms, mj in by_hour.values()
        )
        assert max(ms for ms, _ in by_hour.values()) <= MS_PER_HOUR
        estimate = sum(gpu.cost_nano or 0 for gpu in meter.figures().gpus.values())
        assert abs(estimate - found.net) <= 2 * len(by_hour)
        return dict(found.pieces)


def helios(path: Path, rows: int) -> list[Frame]:
    """A virtual cluster in steps of ten minutes: so many of its GPUs ran jobs."""
    with path.open(newline="") as file:
        read = list(islice(csv.DictReader(file), rows))
    return [
        Frame(
            600_000 * at,
            [
                Gpu(held=number < round(float(row["running_gpu_num"])))
                for number in range(int(float(row["total_gpu_num"])))
            ],
        )
        for at, row in enumerate(read)
    ]


def monitor_log(path: Path) -> list[Frame]:
    """A GPU that a vLLM server holds, asked twice a second."""
    records = json.loads(path.read_text()).values()
    return [
        Frame(round(1000 * one["record_time"]), [Gpu(percent=one["GPU_utilization"])])
        for one in records
    ]


def scrapes(pages: Sequence[str]) -> list[Frame]:
    """Each page of nvidia_gpu_exporter is a GPU that stays as it is for ten minutes."""
    found = []
    for page in pages:
        values = {
            name: float(re.findall(rf"^{name}{{.*?}} (\S+)$", page, re.MULTILINE)[0])
            for name in ("nvidia_smi_utilization_gpu_ratio", "nvidia_smi_power_draw_watts")
        }
        share, watts = values.values()
        found.append(Gpu(percent=round(100 * share), milliwatts=round(1000 * watts)))
    return [Frame(1_000 * second, found) for second in range(600)]


def check_cluster(frames: Sequence[Frame], folder: Path) -> None:
    pieces = replay(frames, folder, 601)
    # Who has a GPU at the end of a step had it throughout.
    held = sum(gpu.held for frame in frames[1:] for gpu in frame.gpus)
    everything = sum(len(frame.gpus) for frame in frames[1:])
    assert pieces["gpu_ms"] == 600_000 * held
    assert pieces["gpu_unallocated_ms"] == 600_000 * (everything - held)


def check_server(frames: Sequence[Frame], folder: Path) -> None:
    pieces = replay(frames, folder, 10)
    busy = sum(
        (after.at_ms - before.at_ms) * (after.gpus[0].percent or 0)
        for before, after in pairwise(frames)
    )
    assert pieces["gpu_ms"] == busy // 100
    assert pieces["gpu_idle_ms"] == frames[-1].at_ms - frames[0].at_ms - busy // 100


def check_scrapes(pages: Sequence[str], folder: Path) -> None:
    frames = scrapes(pages)
    pieces = replay(frames, folder, 10)
    gpus = frames[0].gpus
    assert pieces["gpu_ms"] == sum(599_000 * (gpu.percent or 0) // 100 for gpu in gpus)
    assert pieces["gpu_energy_mj"] == sum(599 * (gpu.milliwatts or 0) for gpu in gpus)


def real(name: str) -> list[Path]:
    found = sorted(FOLDER.glob(name))
    if not found:
        pytest.skip(f"no real data: {FOLDER / name} is absent (COSTMETER_DATA)")
    return found


@pytest.mark.real_data
def test_a_real_cluster(tmp_path: Path) -> None:
    check_cluster(helios(real("gpu/helios_earth_10min/vcSoL.csv")[0], 100), tmp_path)


def test_a_made_up_cluster(tmp_path: Path) -> None:
    rng = random.Random(5)
    running = 3
    frames = []
    for at in range(100):
        running = min(8, max(0, running + rng.randint(-2, 2)))
        frames.append(Frame(600_000 * at, [Gpu(held=number < running) for number in range(8)]))
    check_cluster(frames, tmp_path)


@pytest.mark.real_data
def test_real_servers(tmp_path: Path) -> None:
    for number, path in enumerate(real("gpu/vllm_bench_logs/gpu_log_*.json")):
        (tmp_path / str(number)).mkdir()
        check_server(monitor_log(path), tmp_path / str(number))


def test_a_made_up_server(tmp_path: Path) -> None:
    rng = random.Random(6)
    at_ms = 0
    frames = []
    for _ in range(400):
        at_ms += rng.randint(400, 600)
        frames.append(Frame(at_ms, [Gpu(percent=rng.choice((0, 17, 53, 76)))]))
    check_server(frames, tmp_path)


@pytest.mark.real_data
def test_real_scrapes(tmp_path: Path) -> None:
    pages = [path.read_text() for path in real("prom/nvidia_gpu_exporter/*.metrics")]
    check_scrapes(pages, tmp_path)


def test_made_up_scrapes(tmp_path: Path) -> None:
    pages = [
        f'nvidia_smi_utilization_gpu_ratio{{uuid="{at}"}} {share}\n'
        f'nvidia_smi_power_draw_watts{{uuid="{at}"}} {watts}\n'
        for at, (share, watts) in enumerate([(0, 12.5), (0.97, 689.41), (1, 72.02)])
    ]
    check_scrapes(pages, tmp_path)
