"""The days before, as Prometheus would have recorded them: the figures of the calls."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from costmeter.demo.costs import Budget, Priced
from costmeter.demo.past import STEP_MS, Past
from costmeter.demo.trace import Call
from costmeter.model import NANO_PER_USD
from fakes.exporter import ROOT

RECORDING = (ROOT / "alert_rules" / "recording.rules.yml").read_text("utf-8")
TARGET = (("job", "costmeter"), ("instance", "127.0.0.1:9952"))
START_MS = int(datetime(2026, 11, 29, 20, tzinfo=UTC).timestamp()) * 1_000
HOUR_MS = 3_600_000
END_MS = START_MS + 30 * HOUR_MS  # two in the morning, the day after the next
ACME = {"tenant_id": "acme", "provider": "openai", "model": "gpt-4o", "environment": "prod"}


def call(hours: float, usd: float | None, **changes: Any) -> Priced:
    event = {**ACME, "status": "ok", "tokens": {"input": 100, "output": 7}} | changes
    nano = None if usd is None else round(usd * NANO_PER_USD)
    return Priced(Call(START_MS + round(hours * HOUR_MS), event), nano)


CALLS = [
    call(0.5, 1.25),
    call(3.5, 2.0),
    call(4.5, 0.5),  # past midnight
    call(20.0, 0.25, tenant_id="bolt"),
    call(20.5, None, model="own"),
    call(29.5, 0.000000001, status="error", tokens={"input": 9}),
]
BUDGETS = [Budget("acme", "acme", 5 * NANO_PER_USD), Budget("organization", "", 10**10)]


@pytest.fixture(scope="module")
def past() -> Past:
    past = Past(START_MS, END_MS, UTC, TARGET, RECORDING)
    past.take(CALLS, BUDGETS)
    return past


@pytest.fixture(scope="module")
def samples(past: Past, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], str]:
    """Every sample of the written files: value by series and Unix seconds."""
    found: dict[tuple[str, int], str] = {}
    for path in past.write(tmp_path_factory.mktemp("past")):
        *lines, last = path.read_text("utf-8").splitlines()
        assert last == "# EOF"
        for line in lines:
            series, value, at = line.rsplit(" ", 2)
            assert (series, int(at)) not in found, line
            found[series, int(at)] = value
    return found


def labels(*more: tuple[str, str], **changes: str) -> str:
    pairs = [*more, *({**_CALL, **changes}).items(), *TARGET]
    return "{" + ",".join(f'{name}="{value}"' for name, value in pairs) + "}"


_CALL = {name: ACME[name] for name in ("provider", "model", "tenant_id", "environment")}
_API = ("category", "llm_api")


def at(hours: float) -> int:
    """The last point of the grid at or before so many hours after the start, in seconds."""
    back = -(-(30 - hours) * HOUR_MS // STEP_MS)
    return int(END_MS - back * STEP_MS) // 1_000


def test_counters_grow_with_the_calls(samples: dict[tuple[str, int], str]) -> None:
    cost = "llm_cost_total" + labels(_API)
    assert samples[cost, at(0.2)] == "0.000000000"
    assert samples[cost, at(1)] == "1.250000000"
    assert samples[cost, at(30)] == "3.750000001"
    assert "llm_cost_total" + labels(_API, model="own") not in {series for series, _ in samples}
    unpriced = 'llm_unpriced_requests_total{provider="openai",model="own",'
    ends = Counter(value for (s, t), value in samples.items() if s.startswith(unpriced))
    assert set(ends) == {"0", "1"}
    tokens = "llm_tokens_total" + labels().replace(",job", ',token_class="input",job')
    assert samples[tokens, at(30)] == str(3 * 100 + 9)


def test_figures_to_date_begin_at_midnight_and_with_the_month(
    samples: dict[tuple[str, int], str],
) -> None:
    day = "llm_cost_day_to_date" + labels(_API)
    assert samples[day, at(3.9)] == "3.250000000"
    assert (day, at(4.1)) not in samples, "a new day without spend shows nothing"
    assert samples[day, at(5)] == "0.500000000"
    month = "llm_cost_month_to_date" + labels(_API)
    assert samples[month, at(27.9)] == "3.750000000"
    assert (month, at(28.1)) not in samples, "it is December"
    assert samples[month, at(30)] == "0.000000001"


def test_budgets_follow_the_month(samples: dict[tuple[str, int], str]) -> None:
    where = ',period="month"{},job="costmeter",instance="127.0.0.1:9952"}}'
    acme = '{budget="acme"' + where.format(',tenant_id="acme"')
    everybody = '{budget="organization"' + where.format("")
    assert samples["llm_budget_spent" + acme, at(27)] == "3.750000000"
    assert samples["llm_budget_spent" + everybody, at(27)] == "4.000000000"
    assert samples["llm_budget_spent" + acme, at(29)] == "0.000000000"
    assert samples["llm_budget_cost_total" + acme, at(30)] == "3.750000001"
    assert samples["llm_budget_limit" + acme, at(3)] == "5.000000000"
    ratio = 'budget:llm_budget_spent:ratio{budget="acme",period="month",tenant_id="acme",'
    assert samples[ratio + 'job="costmeter"}', at(27)] == "0.75"


def test_records_are_what_the_rules_would_have_recorded(
    samples: dict[tuple[str, int], str],
) -> None:
    raw, recorded = labels(_API), labels(_API).replace(',instance="127.0.0.1:9952"', "")
    for name in ("llm_cost_total", "llm_requests_total", "llm_tokens_total"):
        copies = {
            (s.replace(f"series:{name}:clamped", name), t): v
            for (s, t), v in samples.items()
            if s.startswith(f"series:{name}:clamped{{")
        }
        originals = {
            (s.replace(',instance="127.0.0.1:9952"', ""), t): v
            for (s, t), v in samples.items()
            if s.startswith(f"{name}{{")
        }
        assert copies == originals
    assert samples["llm_cost_total" + raw, at(1)] == "1.250000000"
    hour = "series:llm_net_cost:increase1h" + recorded
    assert samples[hour, at(1.4)] == "1.250000000"
    assert samples[hour, at(1.6)] == "0.000000000"
    assert (hour, at(0.5)) not in samples, "there is no whole hour yet"
    assert samples['job:llm_net_cost:increase1h{job="costmeter"}', at(5.3)] == "0.500000000"
    # The largest figure of the last hour outlives midnight, as the rule keeps it.
    day = 'tenant:llm_cost_day_to_date:max1h{tenant_id="acme",job="costmeter"}'
    assert samples[day, at(4.4)] == "3.250000000"
    assert samples[day, at(5.2)] == "0.500000000"


def test_every_recorded_name_is_one_of_the_rules(samples: dict[tuple[str, int], str]) -> None:
    recorded = {series.partition("{")[0] for series, _ in samples if ":" in series.split("{")[0]}
    assert recorded
    rules = RECORDING + (ROOT / "alert_rules" / "dashboards.rules.yml").read_text("utf-8")
    assert {name for name in recorded if f"record: {name}\n" not in rules} == set()


def test_the_last_sample_is_of_the_end(samples: dict[tuple[str, int], str]) -> None:
    times = {time for _, time in samples}
    assert max(times) == END_MS // 1_000
    assert min(times) == at(0.0001) or min(times) == START_MS // 1_000
    assert {b - a for a, b in zip(sorted(times), sorted(times)[1:], strict=False)} == {240}


def test_promtool_makes_blocks_of_it(past: Past, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool on this machine (Debian: apt install prometheus)")
    for path in past.write(tmp_path / "text"):
        done = subprocess.run(
            [promtool, "tsdb", "create-blocks-from", "openmetrics", path, tmp_path / "blocks"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert list((tmp_path / "blocks").glob("*/meta.json"))
