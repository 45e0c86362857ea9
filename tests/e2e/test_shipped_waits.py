"""How long it takes from a call to the page with everything as it is shipped; minutes.

python -m pytest tests/e2e/test_shipped_waits.py -m benchmark -s
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fakes.alertmanager import Alertmanager, Webhook, shipped_config
from fakes.exporter import ROOT, Exporter, call, wait_until
from fakes.prometheus import Prometheus

CONFIG = """
gpu: {enabled: false}
budgets:
  items:
    - {name: acme, tenant_id: acme, limit_usd: 1}
"""
#: The rule's own 5 minutes, and at most: 60 s until the budget is looked at, 30 s to the scrape,
#: 60 s to the record, 2 x 30 s to the alert's begin and end, 10 s in Alertmanager.
AT_MOST_SECONDS = 300 + 60 + 30 + 60 + 60 + 10


@pytest.mark.benchmark
@pytest.mark.timeout(900)
def test_a_crossed_budget_pages_within_nine_minutes(tmp_path: Path) -> None:
    with (
        Webhook() as webhook,
        Alertmanager(
            tmp_path / "am", shipped_config(tmp_path / "am", webhook, group_wait=None)
        ) as alertmanager,
        Exporter(tmp_path / "exporter", CONFIG) as exporter,
        Prometheus(
            tmp_path / "prometheus",
            [exporter.address],
            rules=sorted((ROOT / "alert_rules").glob("*.rules.yml")),
            alertmanager=alertmanager.address,
            interval="30s",
        ) as prometheus,
    ):
        exporter.start()
        wait_until(lambda: prometheus.value("up") == 1, 60, "the first scrape")
        exporter.send([call(1, tenant_id="acme", tokens={"output": 2_000_000})])
        posted = time.time()
        page = webhook.wait_for("/costmeter", lambda page: page.alerts(), AT_MOST_SECONDS + 10)
        print(f"from the post to the page, as shipped: {page.at - posted:.0f} s")
        assert page.at - posted < AT_MOST_SECONDS
