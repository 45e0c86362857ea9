"""The shipped rules with shorter waits, so that a test does not take an hour."""

from __future__ import annotations

from pathlib import Path

import yaml

from fakes.exporter import ROOT

SHIPPED = ROOT / "alert_rules"

#: Prometheus learns its targets five seconds after it started. CostmeterDown has to outlast
#: that, and so has everything that is expected to stay silent.
LONGER_THAN_A_START = "15s"


def shortened(folder: Path, waits: dict[str, str]) -> list[Path]:
    """Copies of the rule files, evaluated every second; `waits` is `for` by alert."""
    folder.mkdir()
    copies = []
    unused = set(waits)
    for path in sorted(SHIPPED.glob("*.rules.yml")):
        rules = yaml.safe_load(path.read_text("utf-8"))
        for group in rules["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                if "alert" in rule:
                    unused.discard(rule["alert"])
                    rule["for"] = waits.get(rule["alert"], LONGER_THAN_A_START)
        copy = folder / path.name
        copy.write_text(yaml.safe_dump(rules, sort_keys=False, width=10_000), "utf-8")
        copies.append(copy)
    assert copies, f"no rules in {SHIPPED}"
    assert not unused, f"no such alerts: {unused}"
    return copies
