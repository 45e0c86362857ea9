"""A Grafana of its own, for machines that have the program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml


class Provisioning(NamedTuple):
    """What is shipped: the data source and the provider as YAML, dashboards as (name, JSON)."""

    source: str
    provider: str
    dashboards: Sequence[tuple[str, str]]


def prepare(
    program: str, folder: Path, shipped: Provisioning, *, address: str, prometheus: str
) -> tuple[list[str], dict[str, str]]:
    """Write provisioning and dashboards; the command and its environment.

    `address` is host:port, `prometheus` a URL. Whoever opens it reads without signing in:
    it listens on loopback.
    """
    shown = folder / "dashboards"
    provisioning = folder / "provisioning"
    for path in (shown, provisioning / "datasources", provisioning / "dashboards"):
        path.mkdir(parents=True, exist_ok=True)
    for name, text in shipped.dashboards:
        (shown / name).write_text(text, "utf-8")
    (provisioning / "datasources" / "prometheus.yml").write_text(shipped.source, "utf-8")
    provider = yaml.safe_load(shipped.provider)
    for part in provider["providers"]:
        part["options"]["path"] = str(shown)
    # JSON is YAML.
    (provisioning / "dashboards" / "costmeter.yml").write_text(json.dumps(provider), "utf-8")
    host, _, port = address.partition(":")
    environment = {
        # The shipped data source asks for it.
        "PROMETHEUS_URL": prometheus,
        "GF_SERVER_HTTP_ADDR": host,
        "GF_SERVER_HTTP_PORT": port,
        "GF_PATHS_DATA": str(folder / "data"),
        "GF_PATHS_LOGS": str(folder / "logs"),
        "GF_PATHS_PLUGINS": str(folder / "plugins"),
        "GF_PATHS_PROVISIONING": str(provisioning),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
    }
    path = Path(program)
    command = [program] if path.name == "grafana-server" else [program, "server"]
    return [*command, "--homepath", str(_home(path))], environment


def _home(program: Path) -> Path:
    """Packages keep Grafana's files in /usr/share/grafana; a download beside bin/."""
    unpacked = program.resolve().parent.parent
    return unpacked if (unpacked / "conf").is_dir() else Path("/usr/share/grafana")
