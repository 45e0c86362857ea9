"""Writes the dashboards to dashboards/json, for any Grafana.

    python -m dashboards.build [--check]

`--check` writes nothing and fails when a file is not up to date.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from dashboards import (
    bills_and_sources,
    budgets,
    exporter_health,
    forecast_and_anomalies,
    gpu_efficiency,
    llm_cost_monitoring,
)

FOLDER = Path(__file__).resolve().parent / "json"


def texts() -> dict[str, str]:
    """The content of every generated file, by its name."""
    built = {
        "llm-cost-monitoring.json": llm_cost_monitoring.build(),
        "exporter-health.json": exporter_health.build(),
        "bills-and-sources.json": bills_and_sources.build(),
        "gpu-efficiency.json": gpu_efficiency.build(),
        "budgets.json": budgets.build(),
        "forecast-and-anomalies.json": forecast_and_anomalies.build(),
    }
    return {
        name: json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, data in built.items()
    }


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Write the files to `folder`, or with --check name the wrong ones; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.build")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when stale")
    check = parser.parse_args(arguments).check
    wanted = texts()
    stale = [name for name, text in wanted.items() if _read(folder / name) != text]
    surplus = sorted(path.name for path in folder.glob("*.json") if path.name not in wanted)
    for name in [*stale, *surplus]:
        if check:
            sys.stderr.write(f"{folder / name} is stale; run: python -m dashboards.build\n")
        elif name in wanted:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(wanted[name], "utf-8")
        else:
            (folder / name).unlink()
    return 1 if check and (stale or surplus) else 0


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
