"""Which programs this machine has for the demonstration, and how it would get the others."""

from __future__ import annotations

import shutil
from typing import NamedTuple

NO_GRAFANA = "Grafana is not installed; with docker, deploy/compose starts one with the dashboards"


class Programs(NamedTuple):
    """Paths; None where a program is missing."""

    prometheus: str | None
    promtool: str | None
    alertmanager: str | None
    grafana: str | None

    def missing(self) -> list[str]:
        """A line for each program that is not here: what that means, and what helps."""
        lines = []
        if self.prometheus is None:
            lines.append(
                "Prometheus is not installed, so there are no graphs and no pages. "
                "Debian, Ubuntu: apt-get install --no-install-recommends prometheus; "
                "else https://prometheus.io/download/"
            )
        elif self.promtool is None:
            lines.append(
                "promtool is not installed, so Prometheus starts without the days before; "
                "it comes with Prometheus' download"
            )
        if self.alertmanager is None:
            lines.append(
                "Alertmanager is not installed, so no page arrives here. "
                "Debian, Ubuntu: apt-get install --no-install-recommends "
                "prometheus-alertmanager; else https://prometheus.io/download/"
            )
        return lines


def find_programs() -> Programs:
    """As PATH has them; Debian calls Alertmanager prometheus-alertmanager."""
    return Programs(
        shutil.which("prometheus"),
        shutil.which("promtool"),
        shutil.which("prometheus-alertmanager") or shutil.which("alertmanager"),
        shutil.which("grafana") or shutil.which("grafana-server"),
    )
