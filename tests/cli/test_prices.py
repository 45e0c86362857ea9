"""`costmeter prices`: show, diff and update, and a running exporter that takes the newer one."""

from __future__ import annotations

import json
import os
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from costmeter.cli import main
from fakes.exporter import Exporter, call, wait_until

DATA = Path(os.environ.get("COSTMETER_DATA", Path(__file__).parents[3] / "shared" / "data"))
REAL = DATA / "prices" / "genai_prices_2026-08-21.json"


def catalogue(usd: float, day: str = "2030-01-02") -> str:
    """Data of a provider that sells one model, as genai-prices writes it."""
    model = {
        "id": "gpt-4o-mini", "match": {"equals": "gpt-4o-mini"}, "prices": {"input_mtok": usd},
        "price_comments": f"checked {day}",
    }  # fmt: skip
    return json.dumps([{"id": "openai", "models": [model]}])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert main(["prices", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_show_has_every_class_tier_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = ask(capsys, "show", "claude-sonnet-4-5", "--provider", "anthropic")
    by_tier = {
        (one["processing"], one["above_input_tokens"]): one["usd_per_million"]
        for one in found["prices"]
    }
    assert by_tier["standard", 0]["input"] == "3"
    assert by_tier["standard", 200_000]["input"] == "6"
    assert by_tier["batch", 0]["output"] == "7.5"
    assert found["context_window"] == 200_000
    assert "genai-prices" in found["prices"][0]["source"]


def test_show_knows_dates(capsys: pytest.CaptureFixture[str]) -> None:
    (before,) = ask(capsys, "show", "o3", "--provider", "openai", "--at", "2025-06-09")
    (after,) = ask(capsys, "show", "o3", "--provider", "openai", "--at", "2025-06-10")
    assert before["prices"][0]["valid_until"] == "2025-06-10"
    assert after["prices"][0]["valid_from"] == "2025-06-10"
    assert (before["prices"][0]["valid_from"], after["prices"][0]["valid_until"]) == (None, None)


def test_show_says_what_a_price_file_says(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yml").write_text(
        "prices:\n  - {provider: openai, model: gpt-4o, source: contract 7, from: 2020-01-01,"
        " usd_per_million: {input: 1}}\n"
        "models:\n  - {provider: openai, model: gpt-4o, deprecated: 2031-01-01,"
        " replacement: gpt-9}\n"
    )
    Path("c.yml").write_text("prices: {files: [mine.yml]}\n")
    words = ["show", "gpt-4o", "--provider", "openai", "--config.file", "c.yml"]
    (found,) = ask(capsys, *words)
    assert (found["deprecated_on"], found["replacement"]) == ("2031-01-01", "gpt-9")
    standard = found["prices"][0]
    assert (standard["usd_per_million"]["input"], standard["valid_from"]) == ("1", "2020-01-01")
    assert "contract 7" in standard["source"]
    assert main(["prices", *words]) == 0
    assert "deprecated on 2031-01-01; use gpt-9 instead" in capsys.readouterr().out


def test_show_of_nothing_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(capsys, "show", "nonsense-model", code=1) == []


def test_show_of_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["show", "A100-40GB", "--gpu", "--provider", "aws", "--region", "us-east-1"]
    (found,) = ask(capsys, *words)
    assert [one["processing"] for one in found["prices"]] == ["standard"]
    assert Decimal(found["prices"][0]["usd_per_million"]["gpu_ms"]) == Decimal("2744705.25")


def book_recent(*events: dict[str, Any]) -> None:
    Path("old.ndjson").write_text("\n".join(map(json.dumps, events)))
    assert main(["import", "old.ndjson", "--ledger.path", "l.db"]) == 0


def test_diff_of_a_price_file_and_its_effect(capsys: pytest.CaptureFixture[str]) -> None:
    day = 86_400
    million = {"tokens": {"input": 1_000_000}}
    book_recent(
        call(1, at=time.time() - 2 * day, **million),
        call(2, at=time.time() - 12 * day, **million),
        call(3, at=time.time() - 40 * day, **million),
        call(4, at=time.time() - day, model="mine-1", **million),
    )
    begins = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 10 * day))
    Path("mine.yml").write_text(
        "prices:\n"
        f"  - {{provider: openai, model: gpt-4o-mini, source: x, from: {begins},"
        " usd_per_million: {input: 0.10}}\n"
        "  - {provider: openai, model: mine-1, source: x, usd_per_million: {input: 2}}\n"
    )
    found = ask(capsys, "diff", "mine.yml", "--ledger.path", "l.db")
    changed = {(one["model"], one["class"]): one for one in found["prices"]}
    mini = changed["gpt-4o-mini", "input"]
    assert (mini["old_usd"], mini["new_usd"], mini["percent"]) == ("0.15", "0.1", "-33.3")
    assert changed["mine-1", "input"]["old_usd"] is None
    effect = {one["model"]: one for one in found["effect"]}
    assert (effect["gpt-4o-mini"]["calls"], effect["gpt-4o-mini"]["changed"]) == (2, 1)
    assert effect["gpt-4o-mini"]["difference_usd"] == "-0.05"
    assert effect["mine-1"]["difference_usd"] == "2"
    assert found["effect_usd"] == "1.95"


def test_diff_of_a_catalogue_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    book_recent(call(1, tokens={"input": 1_000_000}))
    Path("new.json").write_text(catalogue(0.25))
    found = ask(capsys, "diff", "new.json", "--ledger.path", "l.db")
    changed = [one for one in found["prices"] if one["processing"] == "standard"]
    assert {one["model"] for one in changed} == {"gpt-4o-mini"}
    assert found["effect_usd"] == "0.1"
    assert not Path("costmeter-data").exists()


def estimated(capsys: pytest.CaptureFixture[str], at: str = "") -> str:
    capsys.readouterr()
    words = ["estimate", "call", "openai", "gpt-4o-mini", "--tokens", "input=1000000", "--json"]
    assert main([*words, *(["--at", at] if at else [])]) == 0
    return str(json.loads(capsys.readouterr().out)["total_usd"])


def test_update_holds_from_its_instant_on(capsys: pytest.CaptureFixture[str]) -> None:
    Path("new.json").write_text(catalogue(0.25))
    assert main(["prices", "update", "new.json", "--from", "2026-11-01"]) == 0
    assert estimated(capsys, "2026-11-01") == "0.25"
    assert estimated(capsys, "2026-10-31T23:59:59Z") == "0.15"
    # What is in force is history: nothing takes its place or begins before it.
    for begins in ("2026-11-01", "2026-10-01"):
        assert main(["prices", "update", "new.json", "--from", begins]) == 1
        assert "what was priced with it stays" in capsys.readouterr().err
    Path("newer.json").write_text(catalogue(0.5))
    assert main(["prices", "update", "newer.json", "--from", "2026-11-02"]) == 0
    assert [estimated(capsys, f"2026-11-0{day}") for day in (1, 2)] == ["0.25", "0.5"]
    names = sorted(path.name for path in Path("costmeter-data/prices").iterdir())
    assert names == ["catalogue-20261101T000000Z.json", "catalogue-20261102T000000Z.json"]


def test_update_refuses_what_is_older_and_what_is_broken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("old.json").write_text(catalogue(0.25, day="2024-01-01"))
    assert main(["prices", "update", "old.json"]) == 1
    assert "take a newer file, or write --older" in capsys.readouterr().err
    Path("broken.json").write_text(catalogue(-1))
    assert main(["prices", "update", "broken.json"]) == 1
    assert "out of range" in capsys.readouterr().err
    assert main(["prices", "update", "missing.json"]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert not Path("costmeter-data").exists()
    assert main(["prices", "update", "old.json", "--older"]) == 0


@pytest.mark.slow
def test_a_running_exporter_takes_it_at_its_reload(tmp_path: Path) -> None:
    with Exporter(tmp_path / "here", "prices: {updates: newer}\n") as exporter:
        exporter.start()
        exporter.send([call(1, tokens={"input": 1_000_000})])
        (exporter.folder / "new.json").write_text(catalogue(0.25))
        time.sleep(1.1)  # the second of the first call is over
        done = exporter.command("prices", "update", "new.json")
        assert done.returncode == 0, done.stderr
        time.sleep(1.1)  # it holds from the second of the command on
        assert exporter.ask("POST", "/-/reload").status == 200
        exporter.send([call(2, tokens={"input": 1_000_000})])

        def both() -> bool:
            # Each at the price of its own time: 0.15 and 0.25.
            return exporter.metrics().sum("llm_cost_month_to_date") == pytest.approx(0.4)

        wait_until(both, 30, "both calls are on the page")
        assert exporter.command("run", "repricing").returncode == 0
        assert both()
        assert exporter.command("verify").returncode == 0


@pytest.mark.slow
@pytest.mark.real_data
def test_a_real_data_file(capsys: pytest.CaptureFixture[str]) -> None:
    if not REAL.is_file():
        pytest.skip(f"there is no {REAL}; set COSTMETER_DATA")
    changed = {one["provider"] for one in ask(capsys, "diff", str(REAL))["prices"]}
    assert {"openai", "anthropic", "google"} <= changed
    assert main(["prices", "update", str(REAL), "--older"]) == 0
    assert "as of 2026-08-21 holds from" in capsys.readouterr().out
