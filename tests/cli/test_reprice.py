"""`costmeter reprice` and `costmeter cost --basis`, on a ledger that a configuration names."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from costmeter.cli import main
from costmeter.clock import SystemClock
from costmeter.config import load_config
from costmeter.engine.service import Service
from costmeter.ledger.history import spend
from costmeter.ledger.store import open_for_reading
from costmeter.ledger.verify import verify
from fakes.clock import FakeClock
from faults.ledgers import DAY, HOUR, PRICES, Ledger, usage

CONFIG = """
ledger: {path: %s}
web: {listen_address: "127.0.0.1:0"}
gpu: {enabled: false}
prices: {files: [prices.yml]}
"""
CONTRACT = """
contracts:
  - {name: late, provider: test, discount_percent: 20, reference: order 9}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ledger with calls of two days, priced at list."""
    (tmp_path / "prices.yml").write_text(PRICES)
    now = SystemClock().now_ms()
    with Ledger(tmp_path, FakeClock(now)) as ledger:
        ledger.book(usage(1, now - 3 * DAY), usage(2, now - HOUR), usage(3, now - HOUR))
        ledger.book(usage(4, now - HOUR, model="nobody knows"))
    (tmp_path / "costmeter.yml").write_text(CONFIG % (tmp_path / "ledger.db"))
    return tmp_path


def run(folder: Path, *words: str) -> int:
    return main([*words, "--config.file", str(folder / "costmeter.yml")])


def agree(folder: Path) -> None:
    with (folder / "costmeter.yml").open("a") as file:
        file.write(CONTRACT)


def net(folder: Path) -> dict[str, int]:
    store = open_for_reading(folder / "ledger.db")
    try:
        assert list(verify(store)) == []
        return {row.group[0]: row.net for row in spend(store.connection, ["kind"]) if row.net}
    finally:
        store.close()


def test_it_shows_the_difference_before_it_books_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "reprice") == 0
    assert "there is nothing to book" in capsys.readouterr().out
    agree(folder)
    assert run(folder, "reprice", "--dry-run", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "models": [
            {
                "provider": "test", "model": "priced", "calls": 3, "changed": 3,
                "old_usd": "7.5", "new_usd": "6", "difference_usd": "-1.5",
            }
        ],
        "difference_usd": "-1.5",
        "booked": False,
        "said": "",
    }  # fmt: skip
    assert net(folder) == {"usage": 7_500_000_000}
    assert run(folder, "reprice", "--since", "1d", "--dry-run") == 0
    assert "-1 USD would be booked today; nothing was" in capsys.readouterr().out


def test_it_books_only_what_was_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agree(folder)
    assert run(folder, "reprice", "--since", "1d") == 0
    assert "2 events of the past got another price" in capsys.readouterr().out
    assert net(folder) == {"usage": 7_500_000_000, "reprice": -1_000_000_000}
    assert run(folder, "reprice", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["difference_usd"], found["booked"]) == ("-0.5", True)
    assert net(folder) == {"usage": 7_500_000_000, "reprice": -1_500_000_000}
    store = open_for_reading(folder / "ledger.db")
    rows = store.connection.execute("SELECT text FROM audit WHERE kind = 'reprice'").fetchall()
    store.close()
    assert [text.partition(": ")[2] for (text,) in rows] == [
        "-1.000000000 USD (test/priced 2 events -1.000000000 USD)",
        "-0.500000000 USD (test/priced 1 events -0.500000000 USD)",
    ]


def test_a_running_exporter_does_it_with_its_own_prices_only(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "costmeter.yml"
    service = Service(load_config(path, {}), SystemClock())
    service.start()
    try:
        agree(folder)
        assert run(folder, "reprice") == 1
        assert "reload it" in capsys.readouterr().out
        service.reload(load_config(path, {}))
        for _ in range(200):
            if net(folder).get("reprice") == -1_500_000_000:
                break
            time.sleep(0.05)
        assert net(folder) == {"usage": 7_500_000_000, "reprice": -1_500_000_000}
    finally:
        service.stop()


def test_cost_on_every_basis(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agree(folder)
    assert run(folder, "reprice") == 0
    capsys.readouterr()
    assert run(folder, "cost", "--since", "7d", "--basis", "all", "--json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "model": "priced", "requests": 3, "list_usd": "7.5", "contracted_usd": "6",
            "effective_usd": "6", "billed_usd": None,
        },
        {
            "model": "nobody knows", "requests": 1, "list_usd": "0", "contracted_usd": "0",
            "effective_usd": "0", "billed_usd": None,
        },
    ]  # fmt: skip
    assert run(folder, "cost", "--since", "7d", "--basis", "list") == 0
    out = capsys.readouterr()
    assert "list_usd" in out.out
    assert "total" in out.out
    assert "nobody knows" in out.err
    assert run(folder, "cost", "--since", "7d", "--basis", "list", "--by", "kind") == 1
    assert "list and billed cost have no kind" in capsys.readouterr().err
