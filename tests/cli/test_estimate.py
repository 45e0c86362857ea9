"""`costmeter estimate`: what it prints, and that what is unpriced is never 0."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from costmeter.cli import main

PRICES = """
prices:
  - {provider: test, model: plain, source: contract 7, usd_per_million: {input: 3, cache_read: 0.3, output: 15}}
  - {provider: test, model: cheap, source: test, usd_per_million: {input: 1, output: 1}}
  - {provider: test, model: small, source: test, usd_per_million: {input: 0.1, output: 0.1}}
  - {provider: test, model: deaf, source: test, usd_per_million: {output: 1}}
  - {provider: mine, model: A100-40GB, region: here, source: offer 9, usd_per_hour: {gpu: 2.5}}
  - {provider: mine, model: A100-40GB, region: here, purchase: spot, source: offer 9, usd_per_hour: {gpu: 1.25}}
models:
  - {provider: test, model: small, context_window: 100}
  - {provider: test, model: cheap, context_window: 4000}
"""  # noqa: E501


@pytest.fixture(autouse=True)
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prices.yml").write_text(PRICES)
    Path("c.yml").write_text("prices: {files: [prices.yml]}\nledger: {path: l.db}\n")


def estimate(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert main(["estimate", *words, "--config.file", "c.yml", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_call(capsys: pytest.CaptureFixture[str]) -> None:
    tokens = "input=500,cache_read=9000,output=300"
    found = estimate(capsys, "call", "test", "plain", "--tokens", tokens)
    assert found["costs_usd"] == {"input": "0.0015", "cache_read": "0.0027", "output": "0.0045"}
    assert (found["total_usd"], found["cache_saving_usd"]) == ("0.0087", "0.0243")
    assert "contract 7" in found["source"]
    assert main(["estimate", "call", "test", "plain", "--tokens", tokens,
                 "--config.file", "c.yml"]) == 0  # fmt: skip
    assert "the cache saves 0.0243 USD" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "said"), [("deaf", "no price for input"), ("nobody", "no standard price")]
)
def test_an_unpriced_call_has_no_total(
    capsys: pytest.CaptureFixture[str], model: str, said: str
) -> None:
    words = ["call", "test", model, "--tokens", "input=5"]
    assert estimate(capsys, *words, code=1)["total_usd"] is None
    assert main(["estimate", *words, "--config.file", "c.yml"]) == 1
    told = capsys.readouterr()
    assert said in told.err
    assert "0.0" not in told.out


def test_the_price_of_another_day(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["call", "openai", "o3", "--tokens", "input=1000000"]
    prices = [
        estimate(capsys, *words, "--at", day)["total_usd"] for day in ("2025-06-09", "2025-06-10")
    ]
    assert prices == ["10", "2"]


def test_a_conversation(capsys: pytest.CaptureFixture[str]) -> None:
    rows = estimate(capsys, "conversation", "test", "plain", "--turns", "3", "--growth", "1")
    assert [row["input"] for row in rows] == [50, 300, 550]
    assert Decimal(rows[-1]["so_far_usd"]) == Decimal(900 * 3 + 600 * 15) / 10**6


def test_a_conversation_that_outgrows_the_window_says_when(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["estimate", "conversation", "test", "cheap", "--turns", "40", "--growth", "1"]
    assert main([*words, "--config.file", "c.yml"]) == 0
    # Turn t takes 250 t tokens: the 17th is the first past 4,000.
    assert "from turn 17 on" in capsys.readouterr().out


def test_a_workload(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["workload", "--tokens", "input=900,output=100", "--calls", "10", "--provider", "test"]
    rows = estimate(capsys, *words)
    assert [(row["rank"], row["model"], row["day_usd"]) for row in rows[:2]] == [
        (1, "cheap", "0.01"),
        (2, "plain", "0.042"),
    ]
    left = {row["model"]: (row["rank"], row["why_not"]) for row in rows[2:]}
    assert left == {
        "small": (None, "context window 100 < 1000"),
        "deaf": (None, "no price for input"),
    }
    assert next(row for row in rows if row["model"] == "deaf")["day_usd"] is None
    assert main(["estimate", *words, "--top", "1", "--config.file", "c.yml"]) == 0
    told = capsys.readouterr().err
    assert "1 more can do it" in told
    assert "left out, context window too small: test/small" in told


def test_a_workload_that_nobody_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["workload", "--provider", "test", "--context", "9000000", "--tokens", "input=1"]
    assert all(row["why_not"] for row in estimate(capsys, *words, code=1))


def test_a_month_of_calls(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["month", "test", "cheap", "--tokens", "input=1000", "--calls", "100", "--days", "31"]
    found = estimate(capsys, *words)
    assert (found["total_usd"], found["low_usd"]) == ("3.1", None)


def test_a_month_from_the_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    today = int(time.time()) // 86_400
    # 1, 2 and 3 USD on the last three whole days; today and what lies longer ago do not count.
    spent = {1: 3, 2: 2, 3: 1, 0: 50}
    rows = [
        {
            "request_id": f"r-{ago}", "provider": "test", "model": "cheap",
            "timestamp": time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime((today - ago) * 86_400)),
            "tokens": {"input": usd * 10**6},
        }
        for ago, usd in spent.items()
    ]  # fmt: skip
    Path("old.ndjson").write_text("\n".join(map(json.dumps, rows)))
    assert main(["import", "old.ndjson", "--config.file", "c.yml"]) == 0
    found = estimate(capsys, "month")
    assert (found["daily_usd"], found["total_usd"]) == ("2", "60")
    # s = 1 USD, n = 3: 4.302653 * sqrt(30 + 300).
    assert float(found["high_usd"]) == pytest.approx(60 + 4.302653 * 330**0.5)
    assert "t(n-1)" in found["formula"]


def test_a_plan_has_a_total_only_when_every_part_has_a_price(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [
        "infra", "--gpus", "4", "--gpu", "A100-40GB", "--provider", "mine", "--region", "here",
        "--hours", "100", "--spot-percent", "60", "--storage-gb", "1000", "--egress-gb", "500",
    ]  # fmt: skip
    rows = {row["part"]: row for row in estimate(capsys, *words, code=1)}
    assert rows["total"]["cost_usd"] is None
    assert rows["storage"]["cost_usd"] is None
    assert rows["A100-40GB on_demand"]["cost_usd"] == "400"  # 4 x 100 h x 40 % x 2.50
    assert rows["A100-40GB spot"]["cost_usd"] == "300"  # 4 x 100 h x 60 % x 1.25
    assert "offer 9" in rows["A100-40GB spot"]["source"]
    rows = {
        row["part"]: row
        for row in estimate(capsys, *words, "--storage-usd", "0.02", "--egress-usd", "0.09")
    }
    assert Decimal(rows["total"]["cost_usd"]) == 400 + 300 + 20 + 45
    assert main(["estimate", *words, "--config.file", "c.yml"]) == 1
    assert "write --storage-usd with its price per GB-month" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["call", "test", "plain"], "nothing is used"),
        (["call", "test", "plain", "--tokens", "inptu=4"], "no class of tokens 'inptu'"),
        (["call", "test", "plain", "--tokens", "input=-4"], "is no count"),
        (["call", "test", "plain", "--units", "input=4"], "no unit 'input'"),
        (["conversation", "test", "plain", "--growth", "1.5"], "is no share"),
        (["conversation", "test", "plain", "--turns", "0"], "from 1 up"),
        (["workload", "--tokens", "input=1", "--provider", "nobody"], "no price list names"),
        (["month", "test", "plain"], "add --calls"),
        (["month"], "there is no ledger"),
        (["month", "--calls", "4"], "needs to know the model"),
        (["infra", "--gpu", "T4", "--provider", "x", "--spot-percent", "101"], "more than 100"),
    ],
)
def test_mistakes_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["estimate", *words, "--config.file", "c.yml"]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
