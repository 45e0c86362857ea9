"""Routes and inhibition: amtool for the routes, a running Alertmanager for what it mutes."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rules.tools import ROOT, alerts, amtool, load, program

CONFIG = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"


def test_configuration_is_valid() -> None:
    answer = amtool("check-config", str(CONFIG))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "1 templates" in answer.stdout


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        (["alertname=BudgetExceeded", "severity=critical", "budget=organization"], "pager"),
        (["alertname=CostmeterDown", "severity=critical"], "pager"),
        (["alertname=LedgerWriteFailing", "severity=critical", "job=costmeter"], "pager"),
        (["alertname=BudgetWarning", "severity=warning"], "team"),
        (["alertname=UnpricedUsage", "severity=warning", "owner=platform"], "team"),
        (["alertname=BudgetWarning", "severity=warning", "owner=finance"], "finance,team"),
        (["alertname=BudgetExceeded", "severity=critical", "owner=finance"], "finance,pager"),
        (
            ["alertname=BudgetBurnFast", "severity=critical", "budget=a", "slack_channel=#a"],
            "budget-channel,pager",
        ),
        (
            ["alertname=BudgetWarning", "severity=warning", "slack_channel=#a"],
            "budget-channel,team",
        ),
        (["alertname=SomethingElse"], "team"),
    ],
)
def test_route(labels: list[str], receivers: str) -> None:
    answer = amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == receivers


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_every_alert_reaches_somebody(alert: str) -> None:
    severity = alerts()[alert]["labels"]["severity"]
    labels = [f"alertname={alert}", f"severity={severity}"]
    answer = amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels)
    assert answer.stdout.strip() == {"critical": "pager", "warning": "team"}[severity]


def test_secrets_come_from_files() -> None:
    def keys(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield key
                yield from keys(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from keys(inner)

    inline = {
        "slack_api_url",
        "api_url",
        "auth_password",
        "password",
        "credentials",
        "bearer_token",
    }
    assert inline & set(keys(load(CONFIG))) == set()


def test_every_name_in_an_inhibition_is_an_alert() -> None:
    for rule in load(CONFIG)["inhibit_rules"]:
        matchers = rule["source_matchers"] + rule["target_matchers"]
        for matcher in [text for text in matchers if text.startswith("alertname")]:
            names = matcher.split('"')[1].split("|")
            assert set(names) <= set(alerts())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Alertmanager with the shipped configuration; it is asked, never listened to."""
    folder: Path = tmp_path_factory.mktemp("alertmanager")
    address = f"127.0.0.1:{_free_port()}"
    command = [
        program("prometheus-alertmanager"),
        f"--config.file={CONFIG}",
        f"--storage.path={folder}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)
        try:
            url = f"http://{address}"
            _wait(lambda: urllib.request.urlopen(f"{url}/-/ready", timeout=1).status == 200)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _wait(done: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if done():
                return
        except (urllib.error.URLError, OSError):
            pass
        assert time.monotonic() < end, "Alertmanager did not get there in time"
        time.sleep(0.1)


def _muted(url: str, fired: list[dict[str, str]]) -> set[tuple[str, ...]]:
    """Send alerts and tell which of them are inhibited, as sorted label values."""
    body = json.dumps([{"labels": labels} for labels in fired]).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/api/v2/alerts", body, headers)
    urllib.request.urlopen(request, timeout=5).close()

    def listed() -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return [alert for alert in found if alert["labels"]["job"] == fired[0]["job"]]

    _wait(lambda: len(listed()) == len(fired))
    _wait(lambda: all(alert["status"]["state"] != "unprocessed" for alert in listed()))
    return {
        tuple(sorted(alert["labels"].values()))
        for alert in listed()
        if alert["status"]["inhibitedBy"]
    }


def _values(labels: dict[str, str]) -> tuple[str, ...]:
    return tuple(sorted(labels.values()))


def test_an_exceeded_budget_mutes_its_own_warnings_only(alertmanager: str) -> None:
    same = {"job": "costmeter-1", "budget": "b1", "period": "month", "tenant_id": "acme"}
    other = {**same, "tenant_id": "other"}
    exceeded = {"alertname": "BudgetExceeded", "severity": "critical", **same}
    warning = {"alertname": "BudgetWarning", "severity": "warning", **same}
    forecast = {"alertname": "ForecastOverBudget", "severity": "warning", **same}
    elsewhere = {"alertname": "BudgetWarning", "severity": "warning", **other}
    muted = _muted(alertmanager, [exceeded, warning, forecast, elsewhere])
    assert muted == {_values(warning), _values(forecast)}


def test_the_ledger_wide_budget_has_no_tenant_and_is_muted_too(alertmanager: str) -> None:
    same = {"job": "costmeter-2", "budget": "organization", "period": "month"}
    exceeded = {"alertname": "BudgetExceeded", "severity": "critical", **same}
    warning = {"alertname": "BudgetWarning", "severity": "warning", **same}
    assert _muted(alertmanager, [exceeded, warning]) == {_values(warning)}


def test_an_exporter_that_is_down_mutes_its_health_and_no_money(alertmanager: str) -> None:
    job = {"job": "costmeter-3"}
    down = {"alertname": "CostmeterDown", "severity": "critical", **job}
    stale = {"alertname": "SnapshotStale", "severity": "critical", **job}
    money = {"alertname": "BudgetExceeded", "severity": "critical", "budget": "b", **job}
    assert _muted(alertmanager, [down, stale, money]) == {_values(stale)}


def test_a_ledger_without_writes_mutes_what_follows_from_it(alertmanager: str) -> None:
    job = {"job": "costmeter-4"}
    failing = {"alertname": "LedgerWriteFailing", "severity": "critical", **job}
    stale = {"alertname": "SnapshotStale", "severity": "critical", **job}
    unpriced = {"alertname": "UnpricedUsage", "severity": "warning", **job}
    assert _muted(alertmanager, [failing, stale, unpriced]) == {_values(stale)}
