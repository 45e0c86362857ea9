"""Every trap end to end: the real exporter through a month, the shipped rules on its pages."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from rules.tools import ROOT, promtool
from traps.happenings import LOOK, MONTH
from traps.judge import Firing, firing, judge, waits
from traps.scenarios import BY_NAME, TRAPS
from traps.verdict import fired, told

#: The ones that everyday tests go through.
FEW = ("first-hour", "replica-leaves")


def lived(folder: Path, names: Sequence[str]) -> list[Firing]:
    """The months of these traps, two at a time, and the alerts of all of them."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'exporter'}:{ROOT / 'tests'}:{ROOT}"}

    def live(part: Sequence[str]) -> None:
        subprocess.run(
            [sys.executable, "-m", "traps", "--pages", str(folder), *part],
            env=environment, check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(live, [names[::2], names[1::2]]))

    def lines() -> Iterator[bytes]:
        for name in names:
            with (folder / f"{name}.om").open("rb") as file:
                yield from file

    return judge(folder / "prometheus", lines(), MONTH, LOOK)


@pytest.fixture(scope="module")
def all_alerts(tmp_path_factory: pytest.TempPathFactory) -> list[Firing]:
    return lived(tmp_path_factory.mktemp("traps"), [trap.name for trap in TRAPS])


@pytest.fixture(scope="module")
def few_alerts(tmp_path_factory: pytest.TempPathFactory) -> list[Firing]:
    return lived(tmp_path_factory.mktemp("few"), FEW)


def check(name: str, alerts: list[Firing]) -> None:
    found = told(fired(alerts, f"costmeter-{name}"), MONTH.to_ms)
    assert found == {alert: list(times) for alert, times in BY_NAME[name].expected.items()}


@pytest.mark.parametrize("name", FEW)
def test_a_trap_brings_its_alerts_and_no_others(name: str, few_alerts: list[Firing]) -> None:
    check(name, few_alerts)


@pytest.mark.slow
@pytest.mark.parametrize("name", [trap.name for trap in TRAPS if trap.name not in FEW])
def test_each_trap_brings_its_alerts_and_no_others(name: str, all_alerts: list[Firing]) -> None:
    check(name, all_alerts)


@pytest.mark.slow
def test_no_alert_belongs_to_nobody(all_alerts: list[Firing]) -> None:
    jobs = {f"costmeter-{trap.name}" for trap in TRAPS}
    assert {found.job for found in all_alerts} <= jobs


def test_alerts_wait_as_prometheus_has_them_wait(tmp_path: Path) -> None:
    """Results that come and go by chance: our times are those of promtool's ALERTS."""
    pick = random.Random(5)
    minutes = range(150)
    rows = {f"x{n}": [pick.random() < 0.3 + n / 10 for _ in minutes] for n in range(6)}
    wanted = [(0, 0), (2, 0), (3, 4), (5, 10), (0, 3)]
    rules = [
        {"alert": f"A{n}", "expr": "x == 1", "for": f"{wait}m",
         **({"keep_firing_for": f"{keep}m"} if keep else {})}
        for n, (wait, keep) in enumerate(wanted)
    ]  # fmt: skip
    (tmp_path / "r.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    samples = []
    instants = [(minute * 60_000, 0) for minute in minutes]
    for row, values in rows.items():
        active = {minute * 60_000 for minute in minutes if values[minute]}
        for n, (wait, keep) in enumerate(wanted):
            times = firing(instants, active, wait * 60_000, keep * 60_000)
            firing_at = {t for a, b in times for t in range(a, b + 1, 60_000)}
            samples.append((row, f"A{n}", firing_at))
    test = {
        "rule_files": [str(tmp_path / "r.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": f'x{{row="{row}"}}', "values": " ".join(str(int(v)) for v in values)}
                    for row, values in rows.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": 'count by (row, alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": f"{minute}m",
                        "exp_samples": [
                            {"labels": f'{{row="{row}", alertname="{alert}"}}', "value": 1}
                            for row, alert, at in samples
                            if minute * 60_000 in at
                        ],
                    }
                    for minute in minutes
                ],
            }
        ],
    }
    (tmp_path / "t.yml").write_text(yaml.safe_dump(test))
    done = promtool("test", "rules", str(tmp_path / "t.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(at for *_, at in samples)


def test_shipped_waits_are_read() -> None:
    found = {wait.name: (wait.for_ms, wait.keep_ms) for wait in waits()}
    assert found["BudgetExceeded"] == (300_000, 600_000)
    assert found["CostmeterDown"] == (300_000, 0)
