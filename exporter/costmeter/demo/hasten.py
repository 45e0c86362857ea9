"""The shipped rules, routes and scrapes at a demonstration's pace.

Everything is read from the shipped files and changed only in how long it waits and where
it listens, so what the demonstration shows is what an installation does. An hour of
waiting becomes a minute. Ranges inside expressions stay as they are: they look at figures,
and the demonstration has days of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

#: How much shorter waits are.
FACTOR = 60
#: Scrapes and evaluations, in seconds.
INTERVAL_SECONDS = 2
#: Prometheus learns its targets five seconds after its start and scrapes them up to two later;
#: until then CostmeterDown is true, and no rule may wait less than that.
LEAST_WAIT_SECONDS = 10
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}

#: An alert's name and the `for` of its rule (seconds) to what it shall wait instead.
Wait = Callable[[str, float], str]


def seconds_of(duration: str) -> float:
    """Prometheus' way to write a duration: 5m, 1h30m."""
    parts = re.findall(r"(\d+)(ms|[smhdwy])", duration)
    if not parts or "".join(count + unit for count, unit in parts) != duration:
        raise ValueError(f"{duration!r} is no duration")
    return sum(int(count) * _UNITS[unit] for count, unit in parts)


def hastened(alert: str, shipped_seconds: float) -> str:
    """An hour as a minute, and never less than a start takes."""
    del alert
    return f"{max(LEAST_WAIT_SECONDS, round(shipped_seconds / FACTOR))}s"


def copy_rules(
    shipped: Iterable[tuple[str, str]], target: Path, wait: Wait = hastened
) -> list[Path]:
    """Copies of rule files (name, text) with other waits, evaluated at the global interval."""
    target.mkdir(parents=True)
    copies = []
    for name, text in shipped:
        rules = yaml.safe_load(text)
        for group in rules["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                if "alert" not in rule:
                    continue
                rule["for"] = wait(rule["alert"], seconds_of(rule.get("for", "0s")))
        copy = target / name
        copy.write_text(yaml.safe_dump(rules, sort_keys=False, width=10_000), "utf-8")
        copies.append(copy)
    return copies


def prometheus_config(
    shipped: str, *, rules: Sequence[Path], exporter: str, prometheus: str, alertmanager: str | None
) -> str:
    """The shipped configuration with other addresses (host:port) and a short interval."""
    config = yaml.safe_load(shipped)
    seconds = f"{INTERVAL_SECONDS}s"
    config["global"] |= {
        "scrape_interval": seconds, "scrape_timeout": seconds, "evaluation_interval": seconds,
    }  # fmt: skip
    config["rule_files"] = [str(path) for path in rules]
    if alertmanager is None:
        del config["alerting"]
    else:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    addresses = {"costmeter": exporter, "prometheus": prometheus}
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [addresses[job["job_name"]]]}]
    # JSON is YAML, and nothing in it needs quoting rules of ours.
    return json.dumps(config, indent=1)


def alertmanager_config(shipped: str, *, webhook: str) -> str:
    """The shipped routes, groups and inhibitions; whoever is told, the webhook hears it.

    `webhook` is host:port; each receiver's messages arrive at the path of its name.
    """
    config = yaml.safe_load(shipped)
    # Secrets and servers of the real receivers; nothing here would use them.
    config["global"] = {"resolve_timeout": config["global"]["resolve_timeout"]}
    config.pop("templates", None)
    _hasten_route(config["route"])
    config["receivers"] = [
        {
            "name": receiver["name"],
            "webhook_configs": [
                {"url": f"http://{webhook}/{receiver['name']}", "send_resolved": True}
            ],
        }
        for receiver in config["receivers"]
    ]
    return json.dumps(config, indent=1)


def _hasten_route(route: dict[str, Any]) -> None:
    for key, least in ROUTE_WAITS.items():
        if key in route:
            route[key] = f"{max(least, round(seconds_of(route[key]) / FACTOR))}s"
    for inner in route.get("routes", ()):
        _hasten_route(inner)


#: What a route waits for, and the least of it in seconds.
ROUTE_WAITS: Mapping[str, int] = {"group_wait": 1, "group_interval": 5, "repeat_interval": 3_600}
