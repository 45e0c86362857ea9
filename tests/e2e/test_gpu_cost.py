"""From a GPU to its cost: the real exporter, the real pynvml, a stand-in driver."""

from __future__ import annotations

import json
import sqlite3
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest

from fakes.exporter import Exporter, wait_until
from fakes.nvml.build import A100, L40S, CannotBuild, Machine, build_library

pytestmark = pytest.mark.slow

#: An eighth of p4de.24xlarge in us-east-1, 27.44705 USD an hour.
A100_USD_AN_HOUR = Decimal("27.44705") / 8

CONFIG = """
ledger: {birth_hold_seconds: 1}
gpu: {provider: aws, region: us-east-1, instance_type: p4de.24xlarge, segment_seconds: 1}
jobs: {budgets_seconds: 1}
"""


@pytest.fixture
def exporter(tmp_path: Path) -> Exporter:
    try:
        library = build_library(tmp_path / "lib")
    except CannotBuild as missing:
        pytest.skip(f"the stand-in for the NVIDIA driver cannot be built: {missing}")
    machine = Machine(tmp_path / "scenario", gpus=[dict(A100), dict(A100), dict(L40S)])
    machine.write()
    prefix = ("env", f"LD_LIBRARY_PATH={library.parent}", f"FAKE_NVML_SCENARIO={machine.path}")
    return Exporter(tmp_path / "exporter", CONFIG, prefix=prefix)


def test_gpu_hours_are_priced_to_the_nano(exporter: Exporter) -> None:
    with exporter:
        exporter.start()
        cost = {"category": "gpu_compute", "provider": "aws"}

        def spent() -> float | None:
            return exporter.metrics().sum("llm_cost_day_to_date", **cost)

        wait_until(lambda: (spent() or 0) > 0.004, 30, "two A100s cost money")
        page = exporter.metrics()
        assert page.sum("gpu_instance_count") == 3
        assert page.sum("gpu_utilization_percent", gpu="0") == 100
        assert page.sum("llm_cost_total", **cost) is not None
        # An L40S stands in no price list of that machine: unpriced, and said so.
        wait_until(
            lambda: exporter.metrics().sum("costmeter_unpriced_requests", model=L40S["name"]),
            10,
            "the L40S is unpriced",
        )
        assert exporter.terminate() == 0
    with sqlite3.connect(exporter.ledger) as ledger:
        hours = ledger.execute("SELECT quantity, nano FROM accrual WHERE rate != 0").fetchall()
    ledger.close()
    booked = 0
    for milliseconds, nano in hours:
        exact = A100_USD_AN_HOUR * 10**9 * milliseconds / 3_600_000
        assert nano == int(exact.to_integral_value(ROUND_HALF_EVEN))
        booked += nano
    answer = exporter.command("cost", "--by", "category,tenant_id", "--since", "1d", "--json")
    rows = [row for row in json.loads(answer.stdout) if Decimal(row["net_usd"])]
    assert [(row["category"], row["tenant_id"]) for row in rows] == [
        ("gpu_compute", "unattributed")
    ]
    assert Decimal(rows[0]["net_usd"]) == Decimal(booked) / 10**9
    assert exporter.command("verify").returncode == 0
