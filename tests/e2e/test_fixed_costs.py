"""Fixed costs through the real process: from its configuration to the page and the answers."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from costmeter.pricing.accrued import Recurring, accrued, day_start
from fakes.exporter import Exporter, Page, wait_until

pytestmark = pytest.mark.slow

CONFIG = """
ledger: {{birth_hold_seconds: 0, reporting_timezone: Europe/Berlin}}
fixed_costs:
  personnel:
    - {{name: team, salary: 240000, headcount: 2, allocation_percent: 50, team: platform,
       start: 2025-01-01}}
  items:
    - {{name: tracing, kind: software_license, amount: {amount}, currency: EUR, start: {today}}}
inventory:
  services:
    - {{name: vectors, provider: qdrant, amount: 95.5, start: 2025-01-01}}
currencies: {{rates_file: rates.csv}}
"""
TEAM = Recurring(240_000 * 13 * 10**8, 12, zone="Europe/Berlin")
VECTORS = Recurring(95_500_000_000, zone="Europe/Berlin")


def net(exporter: Exporter, name: str) -> tuple[int, int]:
    """What was booked for an entry, and until when it is charged."""
    with closing(sqlite3.connect(f"file:{exporter.ledger}?mode=ro", uri=True)) as ledger:
        row = ledger.execute(
            "SELECT coalesce(sum(nano), 0) FROM posting WHERE id LIKE ?", (f"fixed:{name}:%",)
        ).fetchone()
        until = ledger.execute(
            "SELECT max(at_ms) FROM state WHERE kind = 'fixed:covered' AND name LIKE ?",
            (f"{name} %",),
        ).fetchone()
    return int(row[0]), int(until[0] or 0)


def test_from_the_configuration_to_the_page(tmp_path: Path) -> None:
    today = datetime.now(UTC).date().isoformat()
    with Exporter(tmp_path / "x", CONFIG.format(amount=720, today=today)) as exporter:
        rates = exporter.folder / "rates.csv"
        rates.write_text("date,currency,rate\n2020-01-01,EUR,1.5\n")
        exporter.start()
        page = wait_until(lambda: shown(exporter), 20, "personnel on the page")
        assert page.sum("llm_cost_month_to_date", category="software_license") is None
        wait_until(
            lambda: exporter.metrics().sum("costmeter_fixed_costs_waiting") == 1, 20, "no rate"
        )
        since = int(datetime(2024, 12, 31, 23, tzinfo=UTC).timestamp()) * 1_000
        for name, terms in (("personnel/team", TEAM), ("services/vectors", VECTORS)):
            booked, until = net(exporter, name)
            assert booked == accrued(terms, since, until)
        # All of it is from before the entries were first read: nothing of it is in counters.
        assert (page.sum("llm_cost_total", category="personnel") or 0) < 1
        # A rate appears, and amounts of today are there at once.
        yesterday = datetime.fromtimestamp(time.time() - 86_400, UTC).date().isoformat()
        rates.write_text(f"date,currency,rate\n{yesterday},EUR,1.5\n")
        reload(exporter)
        assert exporter.command("run", "fixed-costs").returncode == 0
        booked, until = net(exporter, "items/tracing")
        midnight = day_start(date.fromisoformat(today), "Europe/Berlin")
        in_usd = Recurring(1_080 * 10**9, zone="Europe/Berlin")
        assert booked == accrued(in_usd, midnight, until) > 0
        assert exporter.metrics().sum("costmeter_fixed_costs_waiting") == 0
        # Ten times as much from here on; what is booked stays.
        exporter.configure(CONFIG.format(amount=7200, today=today))
        reload(exporter)
        edited = net(exporter, "items/tracing")
        assert exporter.command("run", "fixed-costs").returncode == 0
        booked, until = net(exporter, "items/tracing")
        more = Recurring(10_800 * 10**9, zone="Europe/Berlin")
        assert booked - edited[0] == accrued(more, edited[1], until)
        exporter.kill9()
        exporter.start()
        assert exporter.command("run", "fixed-costs").returncode == 0
        for name, terms in (("personnel/team", TEAM), ("services/vectors", VECTORS)):
            again, later = net(exporter, name)
            assert again == accrued(terms, since, later)
        assert exporter.terminate() == 0
        assert exporter.command("verify").returncode == 0
        answer = exporter.command("cost", "--by", "category", "--since", "1000d", "--json")
        rows = {row["category"]: Decimal(row["net_usd"]) for row in json.loads(answer.stdout)}
        assert rows["personnel"] == Decimal(net(exporter, "personnel/team")[0]) / 10**9
        assert rows["software_license"] == Decimal(net(exporter, "items/tracing")[0]) / 10**9


def reload(exporter: Exporter) -> None:
    """Tell the process to read its configuration again, and wait until it has."""
    name = "costmeter_config_reload_success_timestamp_seconds"
    before = exporter.metrics().sum(name)
    exporter.signal(signal.SIGHUP)
    wait_until(lambda: exporter.metrics().sum(name) != before, 20, "reloaded")


def shown(exporter: Exporter) -> Page | None:
    page = exporter.metrics()
    found = page.sum("llm_cost_month_to_date", category="personnel")
    return page if found else None


def test_mistakes_stop_the_start_with_what_to_write(tmp_path: Path) -> None:
    exporter = Exporter(
        tmp_path / "x", "inventory: {compute: [{name: x, provider: nowhere, gpu: A100-80GB}]}\n"
    )
    for command in ("check-config", "serve"):
        ended = exporter.command(command)
        assert ended.returncode != 0
        assert "inventory.compute 'x': gpu: no price is known for A100-80GB" in ended.stderr
        assert "write price_per_hour" in ended.stderr
    exporter.configure(CONFIG.format(amount=1, today="2026-01-01"))
    (exporter.folder / "rates.csv").write_text("date,currency,rate\n2026-01-01,EUR,1,08\n")
    ended = exporter.command("check-config")
    assert ended.returncode != 0
    assert "rates.csv:2: row: has 4 values; write 3" in ended.stderr
