"""kill -9 under load, many times, with a real Prometheus beside: nothing lost, twice or back."""

from __future__ import annotations

import json
import os
import random
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.exporter import Exporter, wait_until
from fakes.prometheus import Prometheus
from faults.load import PRICE_FILE, Record, Sender, Watcher, cost

KILLS = 50
CONFIG = """
ledger: {birth_hold_seconds: 2}
gpu: {enabled: false}
prices: {files: [prices.yml]}
jobs: {budgets_seconds: 2, repricing_seconds: 5}
budgets: {monthly_usd: 1000000, items: [{name: t1, limit_usd: 5, tenant_id: t1}]}
"""
COUNTERS = (
    "llm_cost_total", "llm_cost_credit_total", "llm_requests_total", "llm_tokens_total",
    "llm_budget_cost_total", "llm_unpriced_requests_total",
)  # fmt: skip


def ledger_says(exporter: Exporter) -> dict[str, tuple[int, Decimal]]:
    answer = exporter.command("cost", "--by", "tenant_id", "--since", "2d", "--json")
    assert answer.returncode == 0, answer.stderr
    return {
        row["tenant_id"]: (row["requests"], Decimal(row["net_usd"]))
        for row in json.loads(answer.stdout)
    }


def senders_say(events: dict) -> dict[str, tuple[int, Decimal]]:
    found: dict[str, list] = defaultdict(lambda: [0, 0])
    for event in events.values():
        found[event["tenant_id"]][0] += 1
        found[event["tenant_id"]][1] += cost(event)
    return {tenant: (n, Decimal(nano) / 10**9) for tenant, (n, nano) in found.items()}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_kills_lose_nothing_and_no_counter_falls(tmp_path: Path) -> None:
    seed = os.environ.get("COSTMETER_TEST_SEED") or str(random.randrange(10**9))
    print(f"COSTMETER_TEST_SEED={seed}")
    pick = random.Random(seed)
    (tmp_path / "prices.yml").write_text(PRICE_FILE)
    record = Record()
    with (
        Exporter(tmp_path, CONFIG) as exporter,
        Prometheus(tmp_path / "prometheus", [exporter.address]) as prometheus,
    ):
        exporter.start()
        began = time.time()
        senders = [Sender(exporter, record, f"{seed}-{n}", late_seconds=7_200) for n in range(3)]
        watcher = Watcher(exporter)
        for thread in (*senders, watcher):
            thread.start()
        for _ in range(KILLS):
            if pick.random() < 0.2:
                time.sleep(pick.uniform(0, 0.8))  # even while it starts
            else:
                exporter.wait_ready()
                time.sleep(pick.uniform(0.1, 1.6))
            exporter.kill9()
            exporter.launch()
        exporter.wait_ready()
        time.sleep(1)
        for sender in senders:
            sender.stop()

        assert record.problems == []
        assert len(record.sure) > 1_000, "there was no load"
        assert record.resent > 100, "nothing was sent twice"
        time.sleep(3)  # cells follow the events within a second or two
        before = ledger_says(exporter)
        sure, all_sent = senders_say(record.sure), senders_say(record.sure | record.unsure)
        for tenant, (requests, usd) in all_sent.items():
            least, least_usd = sure.get(tenant, (0, Decimal(0)))
            booked, booked_usd = before.get(tenant, (0, Decimal(0)))
            assert least <= booked <= requests, (tenant, least, booked, requests)
            assert least_usd <= booked_usd <= usd, (tenant, least_usd, booked_usd, usd)

        # Whatever nobody answered is sent once more; then everything is there exactly once.
        for event in [*record.unsure.values()]:
            exporter.send([event])
        wait_until(lambda: ledger_says(exporter) == all_sent, 15, "the ledger has each event once")
        everything = list((record.sure | record.unsure).values())
        check_metrics(exporter, everything)
        time.sleep(3)
        watcher.stop()
        assert watcher.falls == []
        assert watcher.pages > KILLS

        span = f"[{round(time.time() - began) + 60}s]"
        for family in COUNTERS:
            falls = prometheus.query(f"sum by (__name__) (resets({family}{span}))")
            assert all(value == 0 for value in falls.values()), (family, falls)
        seen = prometheus.value(f"sum(max_over_time(llm_requests_total{span}))")
        assert seen is not None
        assert seen > 0
        assert exporter.terminate() == 0
    verified = exporter.command("verify", timeout=300)
    assert verified.returncode == 0, verified.stdout


def check_metrics(exporter: Exporter, events: list) -> None:
    """Gauges are exact at once; counters, after the birth hold, for what was not late."""
    month = time.strftime("%Y-%m", time.gmtime())
    in_time = [event for event in events if event["tenant_id"] != "late"]
    of_month = sum(cost(event) for event in events if event["timestamp"].startswith(month))
    wait_until(
        lambda: total(exporter, "llm_cost_month_to_date") == Decimal(of_month) / 10**9,
        10, "month to date is what was sent",
    )  # fmt: skip

    def shown() -> bool:
        page = exporter.metrics()
        return page.sum("llm_tokens_total", token_class="output") is not None and all(
            page.sum("llm_requests_total", tenant_id=tenant) == requests
            for tenant, (requests, _) in senders_say({e["request_id"]: e for e in in_time}).items()
        )

    wait_until(shown, 20, "requests are what was sent")
    for name in ("input", "output"):
        assert exporter.metrics().sum("llm_tokens_total", token_class=name) is not None
        found = sum(
            exporter.metrics().sum("llm_tokens_total", token_class=name, tenant_id=tenant) or 0
            for tenant in {event["tenant_id"] for event in in_time}
        )
        assert found == sum(event["tokens"][name] for event in in_time)
    spent = total(exporter, "llm_cost_total", without="late")
    assert spent == Decimal(sum(map(cost, in_time))) / 10**9


def total(exporter: Exporter, family: str, without: str = "") -> Decimal:
    return sum(
        (
            Decimal(text)
            for (name, labels), text in exporter.metrics().samples.items()
            if name == family and ("tenant_id", without) not in labels
        ),
        Decimal(0),
    )
