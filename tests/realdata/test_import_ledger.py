"""A real ledger of another tool, imported: cost beside cost, and why they differ."""

from __future__ import annotations

import csv
import json
import random
import time
from decimal import Decimal
from pathlib import Path

import pytest

from costmeter.cli import main
from costmeter.model import NANO_PER_USD
from costmeter.pricing import PriceBook, load_price_book
from realdata.ledger_reasons import (
    BOTH,
    EXPERIMENTAL,
    NAMELESS,
    REASONS,
    STALE,
    UNDATED,
    UNKNOWN,
    UNPRICED,
    nano,
)
from realdata.ledgers import (
    LEDGER,
    PAGE,
    bring_in,
    calls,
    cost,
    day,
    differing,
    name_of,
    price_file,
    series,
)
from realdata.marks import needs

COUNTERS = (
    "llm_cost_total",
    "llm_requests_total",
    "llm_tokens_total",
    "llm_unpriced_requests_total",
)

#: Their costs are sums of floats.
_FLOAT = Decimal("0.001")


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return load_price_book()


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> PriceBook:
    path = tmp_path_factory.mktemp("prices") / "old-prices.yml"
    path.write_text(price_file(), encoding="utf-8")
    return load_price_book([path])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@needs(LEDGER)
def test_every_difference_over_one_percent_has_a_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, said = bring_in(capsys, LEDGER, "--ledger.path", "l.db")
    assert "2669 booked, 0 known already" in said
    assert differing(rows) == {name_of(model) for model in REASONS}
    # In the whole ledger that is little: almost all of the money is of models that agree.
    agreeing = [row for row in rows if (row["provider"], row["model"]) not in differing(rows)]
    theirs = sum(Decimal(row["file_cost_usd"]) for row in agreeing)
    assert theirs / sum(Decimal(row["file_cost_usd"]) for row in rows) > Decimal("0.96")


@needs(LEDGER)
@pytest.mark.parametrize("model", REASONS)
def test_a_reason_is_right_for_every_call(book: PriceBook, model: str) -> None:
    reason, made = REASONS[model], calls(LEDGER)[model]
    assert len(made) == reason.calls
    odd, used = 0, set()
    for call in made:
        if reason.theirs is not None:
            wanted = nano(reason.theirs, call.sent, call.received)
            beyond = call.usd * NANO_PER_USD - wanted
            assert beyond > -_FLOAT
            if beyond > _FLOAT:
                odd += 1
                price, block = reason.cached
                blocks = beyond / (Decimal(price) * 1_000 * block)
                assert abs(blocks - round(blocks)) < _FLOAT
        ours = cost(book, model, call)
        found = [one for one in reason.ours if ours == nano(one, call.sent, call.received)]
        assert bool(found) is bool(reason.ours)
        assert (ours is None) is not bool(reason.ours)
        used.update(found)
    assert odd == reason.odd
    assert used == set(reason.ours)


@needs(LEDGER)
@pytest.mark.parametrize("model", [name for name, one in REASONS.items() if one.corrected])
def test_the_price_file_of_the_page_has_the_price_of_the_day(
    corrected: PriceBook, model: str
) -> None:
    reason, ours, theirs, used = REASONS[model], Decimal(0), Decimal(0), set()
    for call in calls(LEDGER)[model]:
        priced = cost(corrected, model, call)
        found = [one for one in reason.corrected if priced == nano(one, call.sent, call.received)]
        assert found
        used.update(found)
        ours, theirs = ours + Decimal(priced or 0), theirs + call.usd * NANO_PER_USD
    assert used == set(reason.corrected)
    if reason.kind in (UNDATED, UNKNOWN, EXPERIMENTAL):
        assert abs(ours - theirs) <= theirs / 100


@needs(LEDGER)
def test_claude_haiku_is_equal_until_its_price_fell(corrected: PriceBook) -> None:
    model = "claude-3-5-haiku-20241022"
    before = [call for call in calls(LEDGER)[model] if day(call.at_ms) < "2024-12-03"]
    assert len(before) == 22
    for call in before:
        priced = cost(corrected, model, call)
        assert priced is not None
        assert abs(priced - call.usd * NANO_PER_USD) < _FLOAT


@needs(LEDGER)
def test_with_the_price_file_only_the_others_are_left(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "old-prices.yml").write_text(price_file(), encoding="utf-8")
    (folder / "c.yml").write_text("prices:\n  files: [old-prices.yml]\nledger:\n  path: l.db\n")
    rows, _ = bring_in(capsys, LEDGER, "--config.file", "c.yml")
    left = {name for name, one in REASONS.items() if one.kind in (STALE, BOTH, UNPRICED, NAMELESS)}
    assert differing(rows) == {name_of(model) for model in left}


@needs(LEDGER)
def test_the_table_of_the_page_is_what_the_import_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, _ = bring_in(capsys, LEDGER, "--dry-run")
    written = {}
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) == 6 and cells[0].startswith("`") and cells[1].isdigit():
            written[cells[0].strip("`")] = cells[1:5]
    named = {name for name, one in REASONS.items() if one.kind != NAMELESS}
    assert set(written) == named
    printed = {(row["provider"], row["model"]): row for row in rows}
    for model, figures in written.items():
        row = printed[name_of(model)]
        ours = "unpriced" if row["unpriced"] else f"{Decimal(row['cost_usd']):.4f}"
        share = row["difference_percent"]
        shown = "" if share is None else f"{Decimal(share):+.1f} %"
        theirs = f"{Decimal(row['file_cost_usd']):.4f}"
        assert [str(row["calls"]), theirs, ours, shown] == figures, model


@pytest.mark.slow
@needs(LEDGER)
def test_the_same_real_file_twice_is_booked_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once_and_again(LEDGER, 2_669, folder, capsys)


def test_a_generated_file_twice_is_booked_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = generated(folder / "old.csv", 300, at_s=1_735_000_000)
    once_and_again(file, 300, folder, capsys)


def once_and_again(
    file: Path, number: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, said = bring_in(capsys, file, "--ledger.path", "l.db")
    assert f"{number} booked, 0 known already" in said
    for _ in range(2):
        spent = {
            (row["provider"], row["model"]): (row["requests"], Decimal(row["net_usd"]))
            for row in asked(capsys, "cost", "--by", "provider,model", "--since", "2024-01-01")
        }
        assert spent == {
            (row["provider"], row["model"]): (row["calls"], Decimal(row["cost_usd"] or 0))
            for row in rows
        }
        for family in COUNTERS:
            assert not any(series(folder / "l.db", family).values())
        assert main(["verify", "--ledger.path", "l.db"]) == 0
        _, said = bring_in(capsys, file, "--ledger.path", "l.db")
        assert f"0 booked, {number} known already" in said


def test_what_is_imported_is_in_the_gauges_and_in_no_counter(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = generated(folder / "new.csv", 50, at_s=int(time.time()) - 1)
    rows, _ = bring_in(capsys, file, "--ledger.path", "l.db")
    wanted = sum(Decimal(row["cost_usd"]) for row in rows if row["cost_usd"]) * NANO_PER_USD
    assert wanted > 0
    gauge = series(folder / "l.db", "llm_cost_year_to_date")
    assert sum(gauge.values()) == wanted
    for family in COUNTERS:
        assert not any(series(folder / "l.db", family).values())


def test_generated_differences_are_told_by_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = generated(folder / "old.csv", 400, at_s=1_735_000_000)
    rows, _ = bring_in(capsys, file, "--dry-run")
    told = {(row["provider"], row["model"]): row for row in rows}
    assert differing(rows) == {
        ("google", "gemini-1.5-pro"),
        ("openrouter", "REDACTED"),
        ("unknown", "unknown"),
    }
    # The tool had 3.50 and 10.50 USD, the price of that day was 1.25 and 5.
    share = Decimal(told["google", "gemini-1.5-pro"]["difference_percent"])
    assert Decimal(-65) < share < Decimal(-52)
    assert told["unknown", "unknown"]["cost_usd"] is None
    assert told["unknown", "unknown"]["difference_percent"] is None
    assert told["anthropic", "claude-3-5-sonnet-20241022"]["difference_percent"] == "+0.00"
    assert told["fireworks", "accounts/fireworks/models/deepseek-v3-0324"]["unpriced"] == 0


def test_a_partly_priced_model_is_compared_by_its_priced_calls(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Batch prices of this model began on 2026-10-14; before, such a call is unpriced.
    lines = ["time,user,model,prompt_tokens,completion_tokens,cost_usd"]
    lines += [f"{at},u,claude-sonnet-4-5,100000,0,0.15" for at in (1_735_000_000, 1_793_000_000)]
    (folder / "batch.csv").write_text("\n".join(lines))
    (row,), _ = bring_in(capsys, folder / "batch.csv", "--dry-run", "--set", "processing=batch")
    assert (row["calls"], row["unpriced"]) == (2, 1)
    assert Decimal(row["file_cost_usd"]) == Decimal("0.3")
    assert (Decimal(row["cost_usd"]), row["difference_percent"]) == (Decimal("0.15"), "+0.00")


#: What the generated tool takes for a million tokens.
_TOOL = {
    "claude-3-5-sonnet-20241022": ("3", "15"),
    "gpt-4o-mini": ("0.15", "0.60"),
    "openrouter/anthropic/claude-3.5-sonnet": ("3", "15"),
    "fireworks_ai/accounts/fireworks/models/deepseek-v3-0324": ("0.90", "0.90"),
    "accounts/fireworks/models/deepseek-v3-0324": ("0.90", "0.90"),
    "bedrock/us.anthropic.claude-3-5-haiku-20241022-v1:0": ("0.80", "4"),
    "gemini/gemini-1.5-pro": ("3.50", "10.50"),
    "models/gemini-1.5-flash": ("0.075", "0.30"),
    "openrouter/REDACTED": ("1", "1"),
    "None": ("1", "1"),
}


def generated(path: Path, number: int, *, at_s: int) -> Path:
    """A ledger in the shape of the real one; some of its rows are equal to each other."""
    pick = random.Random(5)
    with path.open("w", encoding="utf-8", newline="") as handle:
        write = csv.writer(handle)
        write.writerow(["time", "user", "model", "prompt_tokens", "completion_tokens", "cost_usd"])
        row: list[object] = []
        for place in range(number):
            if place % 7:
                model = pick.choice(list(_TOOL)) if place >= len(_TOOL) else list(_TOOL)[place]
                sent, received = pick.randrange(1, 20_000), pick.randrange(2_000)
                usd = nano(_TOOL[model], sent, received) / NANO_PER_USD
                row = [at_s, f"u{pick.randrange(9)}", model, sent, received, usd]
            elif not row:
                row = [at_s, "u0", "gpt-4o-mini", 100, 10, "0.000021"]
            write.writerow(row)
    return path


def asked(capsys: pytest.CaptureFixture[str], *question: str) -> list[dict[str, str]]:
    capsys.readouterr()
    assert main([*question, "--ledger.path", "l.db", "--json"]) == 0
    found: list[dict[str, str]] = json.loads(capsys.readouterr().out)
    return found
