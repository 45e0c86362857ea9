"""A bill in another currency through the real process: kept, counted, and converted late."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fakes.exporter import Exporter, wait_until
from fakes.openai_admin import OpenAIAdmin, cost
from fakes.reports import serving

pytestmark = pytest.mark.slow

CONFIG = """
ledger: {{birth_hold_seconds: 0}}
sources:
  - {{name: bill, kind: openai, key_file: key, base_url: "{url}"}}
scopes:
  - {{name: openai, match: {{provider: openai}}, detail_from: none, amount_from: bill}}
currencies: {{rates_file: rates.csv}}
"""
HEAD = "date,currency,rate\n"


def booked(exporter: Exporter) -> int:
    with closing(sqlite3.connect(f"file:{exporter.ledger}?mode=ro", uri=True)) as ledger:
        row = ledger.execute("SELECT coalesce(sum(up - down), 0) FROM cell").fetchone()
    return int(row[0])


def test_a_bill_in_euro_waits_for_its_rate(tmp_path: Path) -> None:
    fake = OpenAIAdmin()
    day = int(time.time()) // 86_400 * 86_400 - 3 * 86_400
    line = cost("12.34", "gpt-5, input")
    line["amount"]["currency"] = "eur"
    fake.costs = [(day, line)]
    with serving(fake), Exporter(tmp_path / "x", CONFIG.format(url=f"{fake.url}/v1")) as exporter:
        (exporter.folder / "key").write_text(fake.key)
        (exporter.folder / "key").chmod(0o600)
        rates = exporter.folder / "rates.csv"
        rates.write_text(HEAD + "2020-01-01,EUR,9\n")
        exporter.start()

        def waiting() -> float | None:
            return exporter.metrics().sum("llm_cost_unconverted_lines", currency="EUR")

        wait_until(lambda: waiting() == 1, 30, "the line is counted")
        assert booked(exporter) == 0
        before = datetime.fromtimestamp(day - 2 * 86_400, UTC).date()
        rates.write_text(f"{HEAD}2020-01-01,EUR,9\n{before},EUR,1.0843\n")
        reloads = exporter.metrics().sum("costmeter_config_reload_success_timestamp_seconds")
        exporter.signal(signal.SIGHUP)
        wait_until(
            lambda: exporter.metrics().sum("costmeter_config_reload_success_timestamp_seconds")
            != reloads, 20, "the rates are in force",
        )  # fmt: skip
        assert exporter.command("run", "currencies").returncode == 0
        assert exporter.command("run", "settlement").returncode == 0
        assert booked(exporter) == 13_380_262_000
        wait_until(lambda: waiting() is None, 10, "no line waits")
        assert exporter.command("run", "source:bill").returncode == 0
        assert booked(exporter) == 13_380_262_000
        assert exporter.terminate() == 0
        assert exporter.command("verify").returncode == 0
