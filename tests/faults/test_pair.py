"""Two exporters on one ledger: one writes, the other shows the same, or nothing at all."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from fakes.exporter import Exporter, Page, call, wait_until

pytestmark = pytest.mark.slow
CONFIG = """
ledger: {birth_hold_seconds: 0}
gpu: {enabled: false}
jobs: {budgets_seconds: 1}
budgets: {monthly_usd: 100}
"""


def figures(page: Page) -> dict:
    """Projections are left out: they depend on the second in which they are made."""
    made = ("llm_budget_forecast", "llm_budget_exhaustion_timestamp_seconds")
    return {
        key: text
        for key, text in page.samples.items()
        if key[0].startswith("llm_") and key[0] not in made
    }


def pair(folder: Path) -> tuple[Exporter, Exporter]:
    writer = Exporter(folder, CONFIG, name="writer")
    return writer, Exporter(folder, CONFIG, flags=["--read-only"], name="replica")


@pytest.mark.parametrize("link", [False, True])
def test_a_second_writer_is_refused(tmp_path: Path, link: bool) -> None:
    first = Exporter(tmp_path, CONFIG)
    if link:
        (tmp_path / "link.db").symlink_to("ledger.db")
    second = Exporter(
        tmp_path, CONFIG, name="second", ledger_path="link.db" if link else "ledger.db"
    )
    with first, second:
        first.start()
        first.send([call(1)])
        assert second.launch().wait() == 1
        assert "another costmeter (process" in second.log
        assert str(first.process.pid) in second.log
        assert "--read-only" in second.log
        assert "Traceback" not in second.log
        assert first.send([call(1), call(2)])["accepted"] == 1, "the first is not disturbed"
        first.kill9()
        second.start()  # a lock dies with its process
        assert second.send([call(1), call(3)])["accepted"] == 1


def test_a_replica_needs_a_ledger(tmp_path: Path) -> None:
    _, replica = pair(tmp_path)
    with replica:
        assert replica.launch().wait() == 1
        assert "there is no ledger at ledger.db" in replica.log
        assert "Traceback" not in replica.log


def test_a_replica_shows_the_same_and_takes_nothing(tmp_path: Path) -> None:
    writer, replica = pair(tmp_path)
    with writer, replica:
        writer.start()
        writer.send([call(n, tenant_id=f"t{n % 3}") for n in range(30)])
        replica.start()

        def equal(requests: int) -> bool:
            page = replica.metrics()
            return page.sum("llm_requests_total") == requests and (
                figures(page) == figures(writer.metrics())
            )

        wait_until(lambda: equal(30), 10, "both show the same", every=0.2)
        assert replica.metrics().sum("llm_budget_monthly") == 100
        answer = replica.post([call(99)])
        assert answer.status == 503
        assert "only reads" in answer.text
        assert int(answer.headers["retry-after"]) > 0
        writer.send([call(n) for n in range(30, 40)])
        wait_until(lambda: equal(40), 10, "both show the same again", every=0.2)
        assert replica.terminate() == 0
        assert writer.terminate() == 0


def test_a_replica_hides_what_is_stale_and_comes_back(tmp_path: Path) -> None:
    writer, replica = pair(tmp_path)
    with writer, replica:
        writer.start()
        writer.send([call(n) for n in range(5)])
        replica.start()
        wait_until(lambda: figures(replica.metrics()), 10, "the replica shows figures")
        writer.kill9()
        died = time.monotonic()
        wait_until(lambda: not figures(replica.metrics()), 14, "figures are hidden", every=0.2)
        assert time.monotonic() - died > 8, "a short pause of the writer hides nothing"
        answer = replica.ask("GET", "/-/ready")
        assert answer.status == 503
        assert re.search(r"newest state of the ledger is 1\d s old", answer.text)
        assert replica.ask("GET", "/-/healthy").status == 200
        assert replica.metrics().sum("costmeter_build_info") == 1, "its own metrics stay"
        writer.start()
        writer.send([call(5)])
        wait_until(
            lambda: replica.metrics().sum("llm_requests_total") == 6, 10, "the figures return"
        )
        replica.wait_ready(5)


def test_a_replica_follows_a_restored_ledger(tmp_path: Path) -> None:
    writer, replica = pair(tmp_path)
    with writer, replica:
        writer.start()
        writer.send([call(n) for n in range(5)])
        assert writer.command("backup", "copy.db").returncode == 0
        writer.send([call(n) for n in range(5, 9)])
        replica.start()
        wait_until(lambda: replica.metrics().sum("llm_requests_total") == 9, 10, "nine calls")
        writer.terminate()
        restored = writer.command("restore", "copy.db")
        assert restored.returncode == 0, restored.stderr
        writer.start()
        writer.send([call(20)])
        wait_until(
            lambda: replica.metrics().sum("llm_cost_month_to_date") == 6 * 0.00027,
            15,
            "the replica shows the restored ledger",
        )
        assert replica.metrics().sum("costmeter_ledger_epoch") == 2
        assert replica.metrics().sum("llm_requests_total") == 1, "a new epoch begins at 0"
