"""The demonstration's rules and routes are the shipped ones; only waits and addresses differ."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from costmeter.demo import hasten
from fakes.exporter import ROOT

RULES = [(p.name, p.read_text("utf-8")) for p in sorted((ROOT / "alert_rules").glob("*.rules.yml"))]
PROMETHEUS = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8")
ALERTMANAGER = (ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text("utf-8")


def alerts(text: str) -> dict[str, dict[str, Any]]:
    return {
        rule["alert"]: rule
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300), ("1h30m", 5_400), ("0s", 0), ("250ms", 0.25), ("1d", 86_400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert hasten.seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5m ", "-1s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        hasten.seconds_of(text)


def test_rules_differ_in_their_waits_alone(tmp_path: Path) -> None:
    copies = hasten.copy_rules(RULES, tmp_path / "rules")
    assert [path.name for path in copies] == [name for name, _ in RULES]
    for (_, text), copy in zip(RULES, copies, strict=True):
        shipped, copied = yaml.safe_load(text), yaml.safe_load(copy.read_text("utf-8"))
        for group in (*shipped["groups"], *copied["groups"]):
            group.pop("interval", None)
            for rule in group["rules"]:
                rule.pop("for", None)
        assert copied == shipped
    waits = {
        name: rule["for"] for path in copies for name, rule in alerts(path.read_text()).items()
    }
    assert waits["BudgetExceeded"] == "10s"
    assert waits["BudgetWarning"] == "15s"
    assert waits["ForecastOverBudget"] == "60s"
    assert waits["UnexpectedTenantCost"] == "120s"


def test_the_copies_pass_promtool(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool on this machine (Debian: apt install prometheus)")
    config = tmp_path / "prometheus.yml"
    rules = hasten.copy_rules(RULES, tmp_path / "rules")
    config.write_text(
        hasten.prometheus_config(
            PROMETHEUS, rules=rules, exporter="127.0.0.1:1", prometheus="127.0.0.1:2",
            alertmanager="127.0.0.1:3",
        ),
        "utf-8",
    )  # fmt: skip
    done = subprocess.run([promtool, "check", "config", config], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_keeps_its_jobs_and_gets_new_addresses() -> None:
    text = hasten.prometheus_config(
        PROMETHEUS, rules=[Path("/r.yml")], exporter="e:1", prometheus="p:2", alertmanager=None
    )
    config = json.loads(text)
    jobs = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]
    }
    assert jobs == {"costmeter": ["e:1"], "prometheus": ["p:2"]}
    assert "alerting" not in config
    assert config["rule_files"] == ["/r.yml"]
    assert config["global"]["scrape_interval"] == config["global"]["evaluation_interval"] == "2s"


def test_alertmanager_keeps_routes_and_inhibition_and_tells_the_webhook() -> None:
    shipped = yaml.safe_load(ALERTMANAGER)
    config = json.loads(hasten.alertmanager_config(ALERTMANAGER, webhook="127.0.0.1:5"))
    assert config["inhibit_rules"] == shipped["inhibit_rules"]

    def shape(route: dict[str, Any]) -> dict[str, Any]:
        kept = {k: v for k, v in route.items() if k not in ("routes", *hasten.ROUTE_WAITS)}
        return {**kept, "routes": [shape(inner) for inner in route.get("routes", ())]}

    assert shape(config["route"]) == shape(shipped["route"])
    assert config["route"]["group_wait"] == "1s"
    assert config["route"]["repeat_interval"] == "3600s"
    assert config["receivers"] == [
        {
            "name": receiver["name"],
            "webhook_configs": [
                {"url": f"http://127.0.0.1:5/{receiver['name']}", "send_resolved": True}
            ],
        }
        for receiver in shipped["receivers"]
    ]
    assert "secrets" not in json.dumps(config)


def test_the_copied_routes_pass_amtool(tmp_path: Path) -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("there is no amtool here (Debian: apt install prometheus-alertmanager)")
    path = tmp_path / "alertmanager.yml"
    path.write_text(hasten.alertmanager_config(ALERTMANAGER, webhook="127.0.0.1:5"), "utf-8")
    done = subprocess.run([amtool, "check-config", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
