"""Starts, stops and reloads of the real process."""

from __future__ import annotations

import json
import signal
import time
from decimal import Decimal
from pathlib import Path

import pytest

from fakes.exporter import Exporter, Page, call, wait_until
from faults.load import PRICE_FILE, Record, Sender, cost

pytestmark = pytest.mark.slow
CONFIG = """
ledger: {birth_hold_seconds: HOLD}
gpu: {enabled: false}
prices: {files: [prices.yml]}
budgets: {monthly_usd: 100}
jobs: {budgets_seconds: 1}
"""


def exporter_in(folder: Path, hold: int = 0) -> Exporter:
    (folder / "prices.yml").write_text(PRICE_FILE)
    return Exporter(folder, CONFIG.replace("HOLD", str(hold)))


def counters(page: Page) -> dict:
    found = page.starting_with("llm_")
    return {key: value for key, value in found.items() if key[0].endswith("_total")}


def test_counters_go_on_after_a_restart_and_known_events_stay_known(tmp_path: Path) -> None:
    with exporter_in(tmp_path) as exporter:
        exporter.start()
        events = [call(n, provider="test", model="odd", tenant_id=f"t{n % 4}") for n in range(40)]
        exporter.send(events)
        wait_until(lambda: exporter.metrics().sum("llm_requests_total") == 40, 10, "40 calls")
        shown = counters(exporter.metrics())
        assert len(shown) > 10
        for stop in (exporter.kill9, exporter.terminate):
            stop()
            exporter.start()
            assert counters(exporter.metrics()) == shown
            assert exporter.send(events) == {
                "accepted": 0, "duplicate": 40, "observed": 0, "rejected": [],
            }  # fmt: skip
        exporter.send([call(99, provider="test", model="odd", tenant_id="t1")])
        wait_until(lambda: exporter.metrics().sum("llm_requests_total") == 41, 10, "one more")
        assert all(counters(exporter.metrics())[key] >= value for key, value in shown.items())


def test_what_was_acknowledged_just_before_a_kill_is_in_budgets_and_cells_too(
    tmp_path: Path,
) -> None:
    with exporter_in(tmp_path) as exporter:
        for n in range(6):
            exporter.start()
            exporter.send([call(n, provider="test", model="even")])
            exporter.kill9()
        exporter.configure(exporter.config.replace("monthly_usd: 100", "monthly_usd: 200"))
        exporter.start()
        wait_until(lambda: exporter.metrics().sum("llm_requests_total") == 6, 10, "6 calls")
        usd = 6 * cost(call(0, provider="test", model="even")) / 10**9
        page = exporter.metrics()
        assert page.sum("llm_budget_cost_total") == usd
        assert page.sum("llm_cost_month_to_date") == usd
        assert exporter.terminate() == 0
    verified = exporter.command("verify")
    assert verified.returncode == 0, verified.stdout


def test_an_unfinished_birth_hold_begins_again(tmp_path: Path) -> None:
    with exporter_in(tmp_path, hold=4) as exporter:
        exporter.start()
        exporter.send([call(1, provider="test", model="even")])
        wait_until(lambda: exporter.metrics().sum("llm_cost_total") is not None, 5, "it is born")
        time.sleep(2.5)
        exporter.kill9()
        exporter.start()
        started = time.monotonic()
        assert exporter.metrics().sum("llm_cost_total") == 0
        wait_until(lambda: exporter.metrics().sum("llm_cost_total"), 10, "the hold ends")
        # The start itself took part of it.
        assert time.monotonic() - started > 2.5
        exporter.kill9()
        exporter.start()
        assert exporter.metrics().sum("llm_cost_total") == 0.0045, "an ended hold is over"


def test_sigterm_under_load_loses_nothing(tmp_path: Path) -> None:
    record = Record()
    with exporter_in(tmp_path) as exporter:
        for turn in range(3):
            exporter.start()
            senders = [Sender(exporter, record, f"s{turn}-{n}") for n in range(3)]
            for sender in senders:
                sender.start()
            time.sleep(1.5)
            assert exporter.terminate() == 0
            for sender in senders:
                sender.stop()
        assert "Traceback" not in exporter.log
    assert record.problems == []
    assert len(record.sure) > 500
    answer = exporter.command("cost", "--by", "provider", "--since", "2d", "--json")
    [row] = json.loads(answer.stdout)
    sure = sum(map(cost, record.sure.values()))
    unsure = sum(map(cost, record.unsure.values()))
    assert len(record.sure) <= row["requests"] <= len(record.sure) + len(record.unsure)
    assert sure <= Decimal(row["net_usd"]) * 10**9 <= sure + unsure
    assert exporter.command("verify").returncode == 0


def test_a_bad_reload_keeps_the_old_configuration_and_says_so(tmp_path: Path) -> None:
    with exporter_in(tmp_path) as exporter:
        exporter.start()
        good = exporter.config
        page = exporter.metrics()
        assert page.sum("costmeter_config_reload_success") == 1
        assert page.sum("llm_budget_monthly") == 100
        since = page.sum("costmeter_config_reload_success_timestamp_seconds")
        mistakes = {
            "budgets: {monthly_usd: lots}": "monthly_usd",
            "budgets: {monthly_usd: 5, items: [{name: x, limit_usd: 1, timezone: Mars}]}": "Mars",
            "budgets: {monthly_usd: 5, items: [{name: x, limit_usd: 1, timezone: Asia/Kolkata}]}": (
                "cell_minutes"
            ),
            "prices: {files: [nowhere.yml]}": "nowhere.yml",
            "{": "exporter.yml:",
        }
        for text, said in mistakes.items():
            key = text.partition(":")[0]
            rest = [line for line in good.splitlines() if not line.startswith(f"{key}:")]
            exporter.configure("\n".join([*rest, text]) + "\n")
            already = len(exporter.log)
            exporter.signal(signal.SIGHUP)
            wait_until(lambda said=said, at=already: said in exporter.log[at:], 10, f"log: {said}")
            wait_until(
                lambda: exporter.metrics().sum("costmeter_config_reload_success") == 0, 5, "0"
            )
            assert exporter.metrics().sum("llm_budget_monthly") == 100
            assert exporter.send([call(text, provider="test", model="even")])["accepted"] == 1
            exporter.configure(good)
            assert exporter.ask("POST", "/-/reload").status == 200
            assert exporter.metrics().sum("costmeter_config_reload_success") == 1
        exporter.configure(good.replace("100", "250"))
        exporter.signal(signal.SIGHUP)
        wait_until(lambda: exporter.metrics().sum("llm_budget_monthly") == 250, 10, "250")
        assert exporter.metrics().sum("costmeter_config_reload_success") == 1
        later = exporter.metrics().sum("costmeter_config_reload_success_timestamp_seconds")
        assert since is not None
        assert later is not None
        assert later > since
        assert "Traceback" not in exporter.log


def test_a_reload_with_new_prices_reprices_what_was_booked(tmp_path: Path) -> None:
    with exporter_in(tmp_path) as exporter:
        exporter.start()
        events = [call(1, provider="test", model="even"), call(2, provider="test", model="new")]
        exporter.send(events)
        wait_until(lambda: exporter.metrics().sum("llm_cost_month_to_date") == 0.0045, 10, "old")
        text = PRICE_FILE.replace("'10'", "'20'") + (
            "  - {provider: test, model: new, source: test,\n"
            "     usd_per_million: {input: 1, output: 2}}\n"
        )
        (tmp_path / "prices.yml").write_text(text)
        assert exporter.ask("POST", "/-/reload").status == 200
        wait_until(
            lambda: exporter.metrics().sum("llm_cost_month_to_date", model="even") == 0.006,
            10,
            "the new price",
        )
        wait_until(
            lambda: exporter.metrics().sum("llm_cost_month_to_date", model="new") == 0.0015,
            10,
            "the price that was missing",
        )
        assert exporter.terminate() == 0
    assert exporter.command("verify").returncode == 0
