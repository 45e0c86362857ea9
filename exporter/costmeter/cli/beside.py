"""What `costmeter init` puts beside a configuration for Prometheus and Alertmanager."""

from __future__ import annotations

from pathlib import Path

from costmeter.cli.shipped import deploy_file, rule_files
from costmeter.cli.writing import Written

RULES_FOLDER = "costmeter-rules"
_EVERY_INTERFACE = ("", "0.0.0.0", "[::]")  # noqa: S104 - only read
_RULES_IN_CHECKOUT = "../../alert_rules/*.rules.yml"
_TARGET = "127.0.0.1:9952"
_TEMPLATE = "templates/costmeter.tmpl"


def prometheus_files(folder: Path, listen: str) -> list[Written]:
    """A Prometheus that scrapes this exporter, and the rules that it loads."""
    host, _, port = listen.rpartition(":")
    target = f"{'127.0.0.1' if host in _EVERY_INTERFACE else host}:{port}"
    text = _put(deploy_file("prometheus/prometheus.yml"), _RULES_IN_CHECKOUT, _rules())
    text = _put(text, f"[{_TARGET}]", f'["{target}"]')
    text = _put(text, "from a checkout:", "from any folder:")
    text = _put(text, "deploy/prometheus/prometheus.yml", "prometheus.yml")
    rules = [Written(folder / RULES_FOLDER / item.file, item.text) for item in rule_files()]
    return [Written(folder / "prometheus.yml", text), *rules]


def alertmanager_files(folder: Path) -> list[Written]:
    """The routes of the alerts and the words of their messages."""
    text = deploy_file("alertmanager/alertmanager.yml")
    text = _put(text, "deploy/alertmanager/alertmanager.yml", "alertmanager.yml")
    return [
        Written(folder / "alertmanager.yml", text),
        Written(folder / _TEMPLATE, deploy_file(f"alertmanager/{_TEMPLATE}")),
    ]


def _rules() -> str:
    return f"{RULES_FOLDER}/*.rules.yml"


def _put(text: str, old: str, new: str) -> str:
    """`old` replaced, which the shipped example must hold."""
    assert old in text, old
    return text.replace(old, new)
