"""What was said about budgets, to whom, and in which words."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest

from fakes.alertmanager import WEBHOOK_TOKEN, Page, Webhook
from fakes.exporter import ROOT, Exporter
from fakes.prometheus import Prometheus

#: With the shortened waits; the shipped ones take minutes.
PAGED_WITHIN_SECONDS = 30


def warned(webhook: Webhook) -> None:
    """At 90 % the team is told, in the words of the shipped template."""
    message = webhook.wait_for(
        "/slack", lambda page: "is at 90" in json.dumps(page.body), PAGED_WITHIN_SECONDS
    )
    assert message.body["channel"] == "#llm-cost"
    said = message.body["attachments"][0]
    assert said["title"] == "[WARNING] Budget acme of tenant acme is at 90%"
    assert "Nothing has to happen tonight." in said["text"]
    assert "runbooks/BudgetWarning.md" in said["text"]


def names(page: Page) -> set[str]:
    return {alert["labels"]["alertname"] for alert in page.alerts()}


def exceeded(page: Page) -> dict[str, Any]:
    """The alert of a page that says a budget is used up; it may say how fast, too."""
    (alert,) = (one for one in page.alerts() if one["labels"]["alertname"] == "BudgetExceeded")
    return alert


def check_page(page: Page, *, spent: Decimal, limit: Decimal) -> None:
    assert page.headers["authorization"] == f"Bearer {WEBHOOK_TOKEN}"
    assert page.body["receiver"] == "pager"
    assert page.body["status"] == "firing"
    alert = exceeded(page)
    assert alert["labels"] == {
        "alertname": "BudgetExceeded", "severity": "critical", "job": "costmeter",
        "budget": "acme", "period": "month", "tenant_id": "acme",
    }  # fmt: skip
    said = alert["annotations"]
    share = re.fullmatch(r"Budget acme of tenant acme is used up: (\d+\.?\d*)%", said["summary"])
    assert share is not None, said["summary"]
    assert float(share[1]) == pytest.approx(float(100 * spent / limit), rel=1e-3)
    words = " ".join(said["description"].split())
    assert words.startswith(f"Spent {spent:.2f} USD of {limit:.2f} USD this month period ("), words
    address, _, runbook = said["runbook_url"].partition("/alert_rules/")
    assert address.startswith("https://")
    assert (ROOT / "alert_rules" / runbook).is_file(), said["runbook_url"]


def check_advice(page: Page, exporter: Exporter, model: str) -> None:
    """Whoever is woken can paste what the page says to do first."""
    alert = exceeded(page)
    commands = re.findall("`costmeter ([^`]+)`", alert["annotations"]["description"])
    assert commands
    for command in commands:
        done = exporter.command(*command.split())
        assert (done.returncode, done.stderr) == (0, ""), command
        assert model in done.stdout


def check_silence(prometheus: Prometheus, webhook: Webhook) -> None:
    """Whatever else was true for a moment, or told to anybody, is about that one budget."""
    spoken = {
        (of["alertname"], of.get("budget", ""), of["alertstate"])
        for of in map(dict, prometheus.samples("ALERTS", 300))
    }
    # Before Prometheus knows its targets there is no exporter for it; it waits for them.
    spoken.discard(("CostmeterDown", "", "pending"))
    needed = {
        (name, "acme", state)
        for name in ("BudgetWarning", "BudgetExceeded")
        for state in ("pending", "firing")
    }
    missing = sorted(needed - spoken)
    assert missing == []
    # How far 90 % on the first day reaches depends on how much of the month is left; all of a month
    # in a minute is a burn rate as long as spend goes on; and between 90 % and over lies 95 %.
    maybe = {
        (name, "acme", state)
        for name in (
            "ForecastOverBudget", "BudgetBurnFast", "BudgetBurnSlow", "BudgetExhaustionSoon",
            "BudgetCritical",
        )
        for state in ("pending", "firing")
    }  # fmt: skip
    others = sorted(spoken - needed - maybe)
    assert others == []
    for page in webhook.to("/costmeter"):
        assert {alert["labels"]["budget"] for alert in page.body["alerts"]} == {"acme"}
    for page in webhook.to("/slack"):
        assert "Budget acme" in page.body["attachments"][0]["title"]
    spent = prometheus.value('llm_budget_spent{budget="bolt"}')
    assert spent is not None
    assert 0 < spent < 5_000
    assert prometheus.value("llm_budget_monthly") == 1_000_000
