"""From a call to a page: real exporter, Prometheus, Alertmanager and a webhook.

A trace is played in over a bad line, and sent again in other shapes. What Prometheus then
shows is compared, series by series, with a sum of Decimals over the trace. One budget is
crossed and its page has to arrive with the right words; everything else stays silent.
"""

from __future__ import annotations

import json
import os
import random
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from e2e.lossy import Fate, LossyLine
from e2e.pages import (
    PAGED_WITHIN_SECONDS,
    check_advice,
    check_page,
    check_silence,
    names,
    warned,
)
from e2e.rules import shortened
from e2e.trace import Labels, cost_usd, expected_series, generate_trace, read_trace
from fakes.alertmanager import Alertmanager, Webhook, shipped_config
from fakes.exporter import ROOT, Exporter, call, run, wait_until
from fakes.prometheus import Prometheus

TRACE = Path(os.environ.get("COSTMETER_DATA", ROOT / "../shared/data")) / "llm/azure_2023_code.csv"

FATES: dict[int, Fate] = {0: "lose", 2: "drop", 4: "cut", 6: "twice", 8: "busy", 9: "drop"}
#: So many bodies reach the exporter a second time, each full, and are answered as known.
REPEATED_BODIES = sum(fate in ("drop", "cut", "twice") for fate in FATES.values())
#: Alerts that are meant to speak, with their `for`; all others keep a longer one.
WAITS = {"BudgetExceeded": "2s", "BudgetWarning": "2s"}
ACME: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-4o-mini",
    "tenant_id": "acme",
    "environment": "prod",
}
BOLT: dict[str, Any] = {"provider": "cohere", "model": "command-r7b", "tenant_id": "bolt"}


def config(zone: str, acme_limit: Decimal) -> str:
    return f"""
ledger: {{birth_hold_seconds: 4, reporting_timezone: {zone}}}
gpu: {{enabled: false}}
jobs: {{budgets_seconds: 1}}
budgets:
  monthly_usd: 1000000
  items:
    - {{name: acme, tenant_id: acme, limit_usd: {acme_limit}}}
    - {{name: bolt, tenant_id: bolt, limit_usd: 5000}}
"""


@pytest.mark.slow
def test_generated_calls_from_http_to_a_page(tmp_path: Path) -> None:
    follow_to_the_page(tmp_path, generate_trace(tmp_path / "trace.csv"), batch=40)


@pytest.mark.slow
@pytest.mark.real_data
def test_real_calls_from_http_to_a_page(tmp_path: Path) -> None:
    if not TRACE.exists():
        pytest.skip(f"{TRACE} is absent; set COSTMETER_DATA to the data folder")
    follow_to_the_page(tmp_path, TRACE, batch=500)


def follow_to_the_page(folder: Path, trace: Path, batch: int) -> None:
    rows = read_trace(trace)
    played_usd = sum(
        (cost_usd({"model": ACME["model"], "tokens": tokens_of(row)}) for row in rows), Decimal(0)
    )
    # The trace takes the budget to 90 %, one more call over its limit.
    limit = (played_usd / Decimal("0.9")).quantize(Decimal("0.000001"))
    zone = quiet_zone(datetime.now(UTC))
    with (
        Webhook() as webhook,
        Alertmanager(folder / "am", shipped_config(folder / "am", webhook)) as alertmanager,
        Exporter(folder / "exporter", config(zone, limit)) as exporter,
        Prometheus(
            folder / "prometheus",
            [exporter.address],
            rules=shortened(folder / "rules", WAITS),
            alertmanager=alertmanager.address,
        ) as prometheus,
    ):
        exporter.start()
        wait_until(lambda: prometheus.value("up") == 1, 20, "the first scrape")

        played = replay(exporter, trace, batch, rows)
        others, repeated = resend_in_other_shapes(exporter, played)
        check_series(prometheus, played + others)
        intake = exporter.metrics()
        assert intake.sum("costmeter_events_accepted_total") == len(played + others)
        assert intake.sum("costmeter_events_duplicate_total") == repeated + batch * REPEATED_BODIES
        assert intake.sum("costmeter_events_rejected_total") is None
        warned(webhook)
        pages = webhook.to("/costmeter")
        assert all(names(page) == {"BudgetBurnFast"} for page in pages), "nothing is exceeded yet"

        dear = call(
            "dear", **ACME, tokens={"cache_read": 7, "output": int(limit / 5 / Decimal("6e-7"))}
        )
        posted = time.time()
        exporter.send([dear])
        page = webhook.wait_for(
            "/costmeter", lambda page: "BudgetExceeded" in names(page), PAGED_WITHIN_SECONDS
        )
        print(f"from the post to the page: {page.at - posted:.1f} s")
        check_page(page, spent=played_usd + cost_usd(dear), limit=limit)
        check_advice(page, exporter, ACME["model"])

        events = [*played, *others, dear]
        check_series(prometheus, events)
        check_births(prometheus)
        check_silence(prometheus, webhook)
        check_ledger(exporter, events)
        assert exporter.terminate() == 0
    for line in exporter.log.splitlines():
        assert "level=error" not in line
        assert "Traceback" not in line


def quiet_zone(now: datetime) -> str:
    """A zone in which the last and the next two hours lie in one day, so in one month."""
    return "UTC" if 2 <= now.hour < 22 else "Etc/GMT-6"


def tokens_of(row: dict[str, str]) -> dict[str, int]:
    return {"input": int(row["ContextTokens"]), "output": int(row["GeneratedTokens"])}


def replay(
    exporter: Exporter, trace: Path, batch: int, rows: list[dict[str, str]]
) -> list[dict[str, Any]]:
    """Play the trace in over a bad line; the events that arrived, each once."""
    labels = [text for name, value in ACME.items() for text in ("--set", f"{name}={value}")]
    with LossyLine(exporter.port, FATES) as line:
        done = run(
            "replay", trace, "--url", line.url, "--batch", batch,
            "--columns", "timestamp=TIMESTAMP,input=ContextTokens,output=GeneratedTokens", *labels,
            cwd=exporter.folder, timeout=120,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    bodies = -(-len(rows) // batch)
    unanswered = sum(fate != "twice" for fate in FATES.values())
    assert line.seen == bodies + unanswered, "each body without an answer is sent once more"
    known = batch * REPEATED_BODIES
    assert done.stderr.strip() == (
        f"{len(rows)} of {len(rows)} events: {len(rows) - known} accepted, "
        f"{known} duplicate, 0 rejected"
    )
    assert sum(passed.answer["duplicate"] for passed in line.passed) == known
    assert {passed.status for passed in line.passed} == {200}

    events = {event["request_id"]: event for passed in line.passed for event in passed.events}
    assert [event["tokens"] for event in events.values()] == [tokens_of(row) for row in rows]
    check_times([event["timestamp"] for event in events.values()], rows)
    return list(events.values())


def check_times(stamps: list[str], rows: list[dict[str, str]]) -> None:
    """Shifted as a whole, to end now; recent enough that no counter is held back."""
    played = [datetime.fromisoformat(stamp) for stamp in stamps]
    recorded = [datetime.fromisoformat(row["TIMESTAMP"][:26] + "+00:00") for row in rows]
    shifts = [(at - then).total_seconds() for at, then in zip(played, recorded, strict=True)]
    assert max(shifts) - min(shifts) < 0.002, "milliseconds are kept, finer parts are not"
    age = datetime.now(UTC) - played[-1]
    assert 0 <= age.total_seconds() < 120
    assert (datetime.now(UTC) - played[0]).total_seconds() < 3_600


def resend_in_other_shapes(
    exporter: Exporter, played: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], int]:
    """Known events again, among new ones; the new ones, and how often one was repeated."""
    pick = random.Random(11)
    new = [
        call(n, **BOLT, tokens={"input": 2 * pick.randrange(5_000) + 1, "output": n})
        for n in range(1, 61)
    ]
    known = pick.sample(played, 100)
    repeated = 0
    for part in range(0, 60, 20):
        body = [*new[part : part + 20], *known]
        pick.shuffle(body)
        assert exporter.send(body) == answer(accepted=20, duplicate=100)
        assert exporter.send(body) == answer(accepted=0, duplicate=120)
        repeated += 100 + 120
    # Twice in one body, with other contents the second time: the first one stands.
    fresh = call("one-body", **BOLT, tokens={"input": 3, "output": 5})
    twin = {**fresh, "tokens": {"input": 3_000, "output": 5_000}, "timestamp": stamp_before(fresh)}
    assert exporter.send([fresh, twin, fresh]) == answer(accepted=1, duplicate=2)
    return [*new, fresh], repeated + 2


def stamp_before(event: dict[str, Any]) -> str:
    at = datetime.fromisoformat(event["timestamp"]).timestamp() - 30
    return datetime.fromtimestamp(at, UTC).isoformat()


def answer(*, accepted: int, duplicate: int) -> dict[str, Any]:
    return {"accepted": accepted, "duplicate": duplicate, "observed": 0, "rejected": []}


def shown(prometheus: Prometheus, family: str) -> dict[Labels, float]:
    return {
        tuple(item for item in labels if item[0] not in ("__name__", "job", "instance")): value
        for labels, value in prometheus.query(family).items()
    }


def settles(prometheus: Prometheus, family: str, expected: dict[Labels, float]) -> None:
    def right() -> bool:
        return shown(prometheus, family) == expected

    try:
        wait_until(right, 20, family, every=0.2)
    except AssertionError:
        assert shown(prometheus, family) == expected, family


def check_series(prometheus: Prometheus, events: list[dict[str, Any]]) -> None:
    """Every series of every family, to the last nano-USD, and no other series."""
    families = expected_series(events)
    for family, expected in families.items():
        settles(prometheus, family, expected)
    # Two rules further, replicas folded into one.
    settles(prometheus, "series:llm_cost_total:clamped", families["llm_cost_total"])
    assert shown(prometheus, "llm_cost_credit_total") == {}
    assert shown(prometheus, "llm_unpriced_requests_total") == {}


def check_births(prometheus: Prometheus) -> None:
    """Prometheus saw each counter at 0 first, so increase() misses nothing."""
    for family in ("llm_cost_total", "llm_requests_total", "llm_tokens_total"):
        seen = prometheus.samples(family, 300)
        assert seen
        for labels, samples in seen.items():
            values = [value for _, value in samples]
            assert values == sorted(values), (labels, "a counter fell")
            # A class that the last call alone has is born with it.
            assert values[0] == 0, labels


def check_ledger(exporter: Exporter, events: list[dict[str, Any]]) -> None:
    """The commands say the same as the metrics, while the exporter runs."""
    said = exporter.command("cost", "--by", "model", "--since", "3h", "--json")
    assert said.returncode == 0, said.stderr
    found = {
        row["model"]: (row["requests"], Decimal(row["net_usd"])) for row in json.loads(said.stdout)
    }
    expected = {}
    for model in {event["model"] for event in events}:
        own = [event for event in events if event["model"] == model]
        expected[model] = (len(own), sum(map(cost_usd, own), Decimal(0)))
    assert found == expected
    verified = exporter.command("verify")
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stdout
