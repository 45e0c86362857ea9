"""The shipped rules with shorter waits, so that a test does not take an hour."""

from __future__ import annotations

from pathlib import Path

from costmeter.demo.hasten import copy_rules
from fakes.exporter import ROOT

SHIPPED = ROOT / "alert_rules"

#: Prometheus learns its targets five seconds after it started. CostmeterDown has to outlast
#: that, and so has everything that is expected to stay silent.
LONGER_THAN_A_START = "15s"


def shortened(folder: Path, waits: dict[str, str]) -> list[Path]:
    """Copies of the rule files, evaluated every second; `waits` is `for` by alert."""
    unused = set(waits)

    def wait(alert: str, shipped_seconds: float) -> str:
        unused.discard(alert)
        return waits.get(alert, LONGER_THAN_A_START)

    shipped = [(path.name, path.read_text("utf-8")) for path in sorted(SHIPPED.glob("*.rules.yml"))]
    copies = copy_rules(shipped, folder, wait)
    assert copies, f"no rules in {SHIPPED}"
    assert not unused, f"no such alerts: {unused}"
    return copies
