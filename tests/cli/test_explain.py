"""`costmeter explain`: the parts are the figure, whatever happened to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from costmeter.cli import main
from costmeter.ledger.booking import Terms
from costmeter.model import Correction
from faults.ledgers import DAY, HOUR, PRICES, Ledger, labels, posting, usage

DEARER = PRICES.replace("2.5", "4")
GPU = "  - {provider: onprem, model: H100, source: test, usd_per_hour: {gpu: '2.99'}}\n"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Calls that were repriced, corrected and unpriced, a bill and an hour of a GPU."""
    made = Ledger(tmp_path, terms=Terms(birth_hold_ms=300_000), price_text=PRICES + GPU)
    made.open()
    now = made.clock.now_ms()
    made.book(*[usage(n, now - HOUR * (n % 5), tokens=1_000_001 + n) for n in range(10)])
    made.book(usage("free", now, model="unknown"), usage("late", now - DAY))
    card = labels(category="gpu_compute", provider="onprem", model="H100", operation="on_demand")
    pieces = [
        usage(f"gpu-{n}", now - now % HOUR + n * 1_000)._replace(
            labels=card, quantities={"gpu_ms": 999_983}, resource="GPU-1"
        )
        for n in range(3)
    ]
    made.book(*pieces)
    made.post(posting(1, now, 7_000_000_001), posting(2, now, -1_000_000_000))
    correction = Correction("c-1", "acme", now // DAY, "f:http:0", {"team": "search"})
    made.do(lambda: made.amendments.correct([correction]))
    made.restart(price_text=DEARER + GPU)
    left = True
    while left:
        _, left = made.do(lambda: made.amendments.reprice_changed(100))
    yield made
    made.close()


def ask(
    capsys: pytest.CaptureFixture[str], ledger: Ledger, *words: str, code: int = 0
) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["explain", *words, "--ledger.path", str(ledger.path), "--json"]) == code
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def total(rows: list[dict[str, Any]], key: str) -> Decimal:
    return sum((Decimal(row[key]) for row in rows), Decimal(0))


@pytest.mark.parametrize("by", ["", "model", "team,day", "category", "tenant_id,scope"])
def test_spend_is_told_three_ways_that_agree(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    figures = ask(capsys, ledger, "--by", by, "--since", "2025-01-01", "--top", "100")
    for figure in figures:
        net = Decimal(figure["net_usd"])
        assert total(figure["kinds"], "net_usd") == net
        assert total(figure["classes"], "usd") == net
        assert total(figure["prices"], "usd") + total(figure["other_postings"], "usd") == net
        assert figure["adds_up"] is True
    # Ten calls of a million tokens and some, and one late, at 4; a GPU; two lines of a bill.
    gpu = Decimal(round(3 * 999_983 * 2_990_000_000 / 3_600_000)) / 10**9
    calls = (10 * 1_000_001 + 45 + 1_000_000) * Decimal(4) / 10**6
    assert total(figures, "net_usd") == calls + gpu + Decimal("6.000000001")


def test_spend_can_be_narrowed_to_a_day_and_a_team(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    (figure,) = ask(capsys, ledger, "--where", "team=search", "--day", "2025-11-22")
    assert figure["net_usd"] == "4.000004"
    assert {part["kind"]: part["net_usd"] for part in figure["kinds"]} == {
        "correct": "2.5000025",
        "reprice": "1.5000015",
    }
    (price,) = figure["prices"]
    assert (price["events"], price["usd"]) == (1, "4.000004")


def test_an_event_with_its_prices_and_postings(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("0", "f:http:0"):
        (event,) = ask(capsys, ledger, name)
        assert [state["kind"] for state in event["states"]] == ["usage", "correct", "reprice"]
        assert [state["usd"] for state in event["states"]] == ["2.5000025", "2.5000025", "4.000004"]
        assert [(one["kind"], one["usd"]) for one in event["postings"]] == [
            ("usage", "2.5000025"),
            ("correct", "-2.5000025"),
            ("correct", "2.5000025"),
            ("reprice", "1.5000015"),
        ]
        assert event["net_usd"] == "4.000004"
        price = event["states"][-1]["price"]
        assert price["usd_per_million"]["input"] == "4"
        assert price["source"].startswith("test (prices-")


def test_an_unpriced_event_costs_nothing_and_says_so(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    (event,) = ask(capsys, ledger, "free")
    assert (event["states"][0]["usd"], event["states"][0]["price"]) == (None, None)
    assert [one["kind"] for one in event["postings"]] == ["unpriced"]
    assert main(["explain", "free", "--ledger.path", str(ledger.path)]) == 0
    assert "it is unpriced" in capsys.readouterr().out


def test_a_counter_shows_what_is_not_withheld(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    series = 'llm_cost_total{model="priced",category="llm_api"}'
    (held,) = ask(capsys, ledger, series)
    assert (held["shown"], held["held_until"]) == ("0", "2025-11-22T10:05:00Z")
    ledger.clock.advance(minutes=6)
    ledger.tick()
    (found,) = ask(capsys, ledger, series)
    assert found["held_until"] is None
    assert Decimal(found["cells"]) + Decimal(found["opening"]) == Decimal(found["value"])
    pending = total(found["releases"], "pending")
    assert pending > 0
    assert Decimal(found["shown"]) == Decimal(found["value"]) - pending
    ((_, exported),) = [
        item for item in ledger.family("llm_cost_total").items() if "priced" in item[0]
    ]
    assert Decimal(found["shown"]) * 10**9 == exported


def test_every_counter_is_explained_as_the_snapshot_shows_it(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.clock.advance(hours=3)
    ledger.tick()
    for family in ("llm_cost_total", "llm_cost_credit_total"):
        rows = ask(capsys, ledger, family)
        shown = sorted(int(Decimal(row["shown"]) * 10**9) for row in rows)
        assert shown == sorted(ledger.family(family).values())
    for family in ("llm_requests_total", "llm_tokens_total", "llm_unpriced_requests_total"):
        rows = ask(capsys, ledger, family)
        assert sorted(row["shown"] for row in rows) == sorted(ledger.family(family).values())


@pytest.mark.parametrize(
    "family",
    [
        "llm_cost_day_to_date", "llm_cost_month_to_date", "llm_cost_quarter_to_date",
        "llm_cost_year_to_date",
    ],
)  # fmt: skip
def test_the_cells_of_a_gauge_make_it(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], family: str
) -> None:
    gauges = ask(capsys, ledger, family)
    for gauge in gauges:
        assert total(gauge["cells"], "net_usd") == Decimal(gauge["usd"])
        assert gauge["cells"]
    shown = [value for value in ledger.family(family).values() if value]
    assert sorted(int(Decimal(gauge["usd"]) * 10**9) for gauge in gauges) == sorted(shown)


def test_a_figure_that_does_not_add_up_ends_with_1(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.store.connection.execute("UPDATE cell SET up = up + 1 WHERE kind = 'usage'")
    (figure,) = ask(capsys, ledger, "--by", "", "--since", "2025-01-01", code=1)
    assert figure["adds_up"] is False
    assert main(["explain", "--since", "2025-01-01", "--ledger.path", str(ledger.path)]) == 1
    assert "NOT what the cells hold" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing-such"], "there is no event"),
        (["llm_nonsense_total"], "cannot be explained"),
        (['llm_cost_total{modell="x"}'], "has no label 'modell'"),
        (["llm_cost_total{model=x}"], "is no set of labels"),
        (['llm_cost_total{model="x"}'], "no series fits"),
        (["--by", "colour"], "unknown dimension"),
        (["--by", "kind"], "by kind anyway"),
        (["--where", "team"], "is no condition"),
        (["--day", "24h"], "is no day"),
    ],
)
def test_mistakes_are_told_in_one_line(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["explain", *words, "--ledger.path", str(ledger.path)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
