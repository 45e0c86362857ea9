"""`costmeter backfill`: what a real Prometheus answers of the past is what the ledger says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from costmeter.attribution import Scope
from costmeter.cli import main
from costmeter.ledger.admission import EXPORTED
from costmeter.ledger.history import spend
from costmeter.ledger.metered import HISTORY_FEED
from costmeter.model import Usage
from fakes.prometheus import Prometheus
from ledger.settle.parts import BILLED, DAY, HOUR, USD, Bench, labels, line, price_book

#: 28 November 2025, 8:00, and 1 December: it goes over the end of a month.
FIRST_MS = 1_764_288_000_000 + 8 * HOUR
DECEMBER_MS = 1_764_547_200_000


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Two days as imported history, then two and a half days of calls and a bill."""
    folder = tmp_path_factory.mktemp("ledger")
    made = Bench(folder, price_book(folder), BILLED, Scope("default"))
    made.clock.advance((FIRST_MS + 48 * HOUR - made.clock.now_ms()) / 1000)
    history = [
        Usage(
            f"f:import:{number}", FIRST_MS + number * HOUR + 7, HISTORY_FEED,
            labels(f"tenant-{number % 3}"), {"input": 1_000 + number, "output": 5},
        )
        for number in range(48)
    ]  # fmt: skip
    made.booking.transact(lambda: made.booking.usages(history, history=True))
    for number in range(60):
        model = ("cheap", "dear")[number % 2]
        made.use(f"tenant-{number % 4}", 1_234 * (number + 1), model)
        if number % 7 == 0:
            made.use("tenant-0", 333, "no price")
        if number == 30:
            day = made.today - 1
            made.take(line(day, "cheap", 5_000_001), line(day, "refund", -777, charge="credit"))
        made.clock.advance(3600)
    made.booking.transact(lambda: None)
    yield made
    made.close()


@pytest.fixture
def ledger(bench: Bench) -> list[str]:
    return ["--ledger.path", str(bench.path)]


def instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


def end_of(bench: Bench) -> int:
    return bench.clock.now_ms() // HOUR * HOUR


def written(bench: Bench, path: Path, *words: str) -> Path:
    """The past up to the bench's now."""
    arguments = ["--until", instant(end_of(bench)), "--output", str(path), *words]
    assert main(["backfill", "--ledger.path", str(bench.path), *arguments]) == 0
    return path


def loaded(folder: Path, *files: Path) -> Prometheus:
    """A Prometheus whose database is what promtool makes of the files."""
    if shutil.which("promtool") is None:
        pytest.skip("there is no promtool on this machine (Debian: apt install prometheus)")
    for file in files:
        subprocess.run(
            [
                "promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet",
                "--max-block-duration=744h", str(file), str(folder / "tsdb"),
            ],
            check=True, capture_output=True,
        )  # fmt: skip
    return Prometheus(folder, targets=[])


@pytest.fixture(scope="module")
def prometheus(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with loaded(folder, written(bench, folder / "past.om")) as running:
        yield running


def whole(value: float) -> int:
    """A value in USD as nano-USD; doubles are exact far beyond these amounts."""
    return round(value * USD)


def by(
    found: Mapping[tuple[tuple[str, str], ...], float], *names: str
) -> dict[tuple[str, ...], int]:
    """Nano-USD by some labels, groups at zero left out."""
    sums: dict[tuple[str, ...], int] = {}
    for pairs, value in found.items():
        known = dict(pairs)
        group = tuple(known.get(name, "") for name in names)
        sums[group] = sums.get(group, 0) + whole(value)
    return {group: nano for group, nano in sums.items() if nano}


def net(
    bench: Bench, *names: str, since_ms: int = 0, until_ms: int = 1 << 62
) -> dict[tuple[str, ...], int]:
    rows = spend(bench.store.connection, names, since_ms=since_ms, until_ms=until_ms)
    return {row.group: row.net for row in rows if row.net}


def days(bench: Bench) -> list[int]:
    return list(range(FIRST_MS // DAY * DAY, end_of(bench), DAY))


def test_each_day_is_exactly_what_the_ledger_says(bench: Bench, prometheus: Prometheus) -> None:
    names = ("tenant_id", "model", "provider", "environment")
    for day_ms in days(bench):
        until_ms = min(day_ms + DAY, end_of(bench))
        found = prometheus.query("series:llm_cost_day_to_date:max", until_ms / 1000 - 1)
        assert by(found, *names) == net(bench, *names, since_ms=day_ms, until_ms=until_ms)
        raw = prometheus.query("llm_cost_day_to_date", until_ms / 1000 - 1)
        assert by(raw, *names) == by(found, *names)


def test_months_quarters_and_years_to_date(bench: Bench, prometheus: Prometheus) -> None:
    at = end_of(bench) / 1000 - 1
    names = ("tenant_id", "provider")
    this = net(bench, *names, since_ms=DECEMBER_MS, until_ms=end_of(bench))
    before = net(bench, *names, until_ms=DECEMBER_MS)
    assert by(prometheus.query("series:llm_cost_month_to_date:max", at), *names) == this
    assert by(prometheus.query("series:llm_cost_last_month:max", at), *names) == before
    everything = net(bench, *names, until_ms=end_of(bench))
    assert by(prometheus.query("series:llm_cost_quarter_to_date:max", at), *names) == everything
    assert by(prometheus.query("llm_cost_year_to_date", at), *names) == everything
    last = prometheus.query("series:llm_cost_month_to_date:max", DECEMBER_MS / 1000 - 1)
    assert by(last, *names) == before


def test_a_day_of_hours_is_exact_at_every_level(bench: Bench, prometheus: Prometheus) -> None:
    """As the dashboards ask: whole days of hourly growth."""
    for day_ms in days(bench):
        at = (day_ms + DAY) / 1000
        known = {"since_ms": day_ms, "until_ms": min(day_ms + DAY, end_of(bench))}
        for selector, names in (
            ('{tenant_id="", model=""}', ("category",)),
            ('{tenant_id!=""}', ("tenant_id",)),
            ('{model!=""}', ("model",)),
        ):
            asked = f"sum_over_time(rollup:llm_net_cost:increase1h{selector}[86399s:1h])"
            assert by(prometheus.query(asked, at), *names) == net(bench, *names, **known)
        asked = "sum_over_time(series:llm_net_cost:increase1h[86399s:1h])"
        fine = ("tenant_id", "model")
        assert by(prometheus.query(asked, at), *fine) == net(bench, *fine, **known)


def test_records_are_what_their_rules_make_of_the_rest(
    bench: Bench, prometheus: Prometheus
) -> None:
    text = (Path(__file__).parents[2] / "alert_rules/dashboards.rules.yml").read_text()
    rule = re.search(
        r"record: (rollup:llm_cost_month_to_date:sum)\n\s+expr: \|\n((?: {10}.*\n)+)", text
    )
    assert rule is not None
    compared = 0
    for end_ms in range(FIRST_MS + HOUR, end_of(bench) + 1, 7 * HOUR):
        at = end_ms / 1000 - 1
        recorded = prometheus.query(rule[1], at)
        made = prometheus.query(rule[2], at)
        unnamed = {
            tuple(p for p in pairs if p[0] != "__name__"): v for pairs, v in recorded.items()
        }
        assert {key: whole(v) for key, v in unnamed.items()} == {
            key: whole(v) for key, v in made.items()
        }
        compared += len(made)
    assert compared > 50


def test_counters_grow_by_what_was_spent(bench: Bench, prometheus: Prometheus) -> None:
    """The increase of whole days; over the end of history a counter begins anew."""
    for day_ms in days(bench)[1:-1]:
        at = (day_ms + DAY) / 1000
        for family, which in (("llm_cost_total", "up"), ("llm_cost_credit_total", "down")):
            found = prometheus.query(f"sum by (tenant_id) (increase({family}[1d]))", at)
            rows = spend(
                bench.store.connection, ["tenant_id"], since_ms=day_ms, until_ms=day_ms + DAY
            )
            expected = {row.group: getattr(row, which) for row in rows if getattr(row, which)}
            grown = {group: value for group, value in by(found, "tenant_id").items() if value}
            # increase() extrapolates in doubles: a nano here and there.
            assert grown.keys() == expected.keys()
            assert all(abs(grown[group] - expected[group]) <= 20 for group in grown)


def test_calls_and_tokens(bench: Bench, prometheus: Prometheus) -> None:
    start, end = FIRST_MS, end_of(bench)
    seconds = (end - start) // 1000
    at = end / 1000
    asked = f'sum_over_time(rollup:llm_requests:increase1h{{tenant_id!=""}}[{seconds - 1}s:1h])'
    found = {dict(k)["tenant_id"]: round(v) for k, v in prometheus.query(asked, at).items()}
    rows = spend(bench.store.connection, ["tenant_id"], until_ms=end)
    assert found == {row.group[0]: row.requests for row in rows if row.requests}
    asked = (
        f'sum by (token_class) (sum_over_time(rollup:llm_tokens:increase1h{{tenant_id="", '
        f'model=""}}[{seconds - 1}s:1h]))'
    )
    tokens = {dict(k)["token_class"]: round(v) for k, v in prometheus.query(asked, at).items()}
    assert tokens == dict(
        bench.store.connection.execute(
            "SELECT j.key, sum(j.value) FROM cell, json_each(quantities) AS j "
            "WHERE hour < ? GROUP BY 1", (end,)
        ).fetchall()
    )  # fmt: skip


def samples_of(
    path: Path,
) -> dict[str, dict[tuple[tuple[str, str], ...], list[tuple[float, float]]]]:
    """A file as a strict parser of OpenMetrics reads it."""
    found: dict[str, dict[tuple[tuple[str, str], ...], list[tuple[float, float]]]] = {}
    for family in text_string_to_metric_families(path.read_text()):
        for sample in family.samples:
            key = tuple(sorted(sample.labels.items()))
            series = found.setdefault(sample.name, {}).setdefault(key, [])
            series.append((float(sample.timestamp), sample.value))
    return found


def test_live_counters_go_on_where_the_past_ends(bench: Bench, tmp_path: Path) -> None:
    found = samples_of(written(bench, tmp_path / "past.om"))
    target = {"instance": "127.0.0.1:9952", "job": "costmeter"}
    checked = 0
    for family, names in (
        ("llm_cost_total", EXPORTED),
        ("llm_cost_credit_total", EXPORTED),
        ("llm_requests_total", ("provider", "model", "tenant_id", "environment", "status")),
        ("llm_tokens_total", ("provider", "model", "tenant_id", "environment", "token_class")),
    ):
        snapshot = bench.reader.refresh()
        # As they show when no new series is held back any more.
        at_ms = snapshot.release_clock_ms + HOUR
        live = {
            labels: value
            for chunk in snapshot.families[family]
            for labels, value in zip(chunk.labels, chunk.shown(at_ms), strict=True)
        }
        scale = USD if family.startswith("llm_cost") else 1
        for labels_, value in live.items():
            known = {n: v for n, v in zip(names, labels_, strict=True) if v} | target
            series = found[family].get(tuple(sorted(known.items())))
            if series is None:
                assert value == 0
                continue
            assert series[-1][0] == end_of(bench) / 1000
            last = round(series[-1][1] * scale)
            # What only history made stands at its sum; the live one at 0 is a new beginning.
            assert last == value or value == 0
            checked += 1
            assert all(v >= 0 for _, v in series)
            assert [at for at, _ in series] == sorted({at for at, _ in series})
    assert checked > 20


def grown(series: list[tuple[float, float]]) -> float:
    """What `increase()` counts: after a fall the counter began at 0."""
    values = [value for _, value in series]
    return sum(after - before if after >= before else after for before, after in pairwise(values))


def test_all_growth_is_all_that_was_spent(bench: Bench, tmp_path: Path) -> None:
    """History and what came after it, although live counters never show history."""
    found = samples_of(written(bench, tmp_path / "past.om"))
    rows = spend(bench.store.connection, ["tenant_id", "model"], until_ms=end_of(bench))
    for family, which in (("llm_cost_total", "up"), ("llm_cost_credit_total", "down")):
        sums: dict[tuple[str, str], int] = {}
        for key, series in found[family].items():
            group = (dict(key)["tenant_id"], dict(key)["model"])
            sums[group] = sums.get(group, 0) + whole(grown(series))
        assert sums == {row.group: getattr(row, which) for row in rows if getattr(row, which)}


def test_the_end_may_lie_in_the_past(bench: Bench, tmp_path: Path) -> None:
    """Prometheus has scraped since: the counters then stood where the written ones end."""
    end_ms = end_of(bench) // DAY * DAY - DAY
    path = tmp_path / "past.om"
    arguments = ["--until", instant(end_ms), "--output", str(path)]
    assert main(["backfill", "--ledger.path", str(bench.path), *arguments]) == 0
    found = samples_of(path)["llm_cost_total"]
    live = dict(bench.reader.refresh().samples("llm_cost_total"))
    after: dict[tuple[str, str], int] = {}
    for row in bench.store.connection.execute(
        "SELECT tenant_id, model, up FROM cell JOIN dim USING (dim) "
        "WHERE hour >= ? OR booked >= ?", (end_ms, end_ms // DAY)
    ):  # fmt: skip
        after[row[:2]] = after.get(row[:2], 0) + row[2]
    compared = 0
    for key, series in found.items():
        known = dict(key)
        assert series[-1][0] <= end_ms / 1000
        stood = [
            value - after.get((known["tenant_id"], known["model"]), 0)
            for values, value in live.items()
            if values[2:4] == (known["model"], known["tenant_id"])
        ]
        if stood and stood[0] > 0:
            assert whole(series[-1][1]) == stood[0]
            compared += 1
    assert compared


def test_days_hold_the_same_with_fewer_samples(bench: Bench, tmp_path: Path) -> None:
    arguments = ["--until", instant(end_of(bench)), "--by", "day"]
    path = tmp_path / "days.om"
    assert (
        main(["backfill", "--ledger.path", str(bench.path), *arguments, "--output", str(path)]) == 0
    )
    found = samples_of(path)
    until_ms = end_of(bench) // DAY * DAY
    assert {at % 86_400 for series in found["llm_cost_total"].values() for at, _ in series[:1]} == {
        0
    }
    for day_ms in range(FIRST_MS // DAY * DAY, until_ms, DAY):
        at = (day_ms + DAY) / 1000
        sums: dict[tuple[str, ...], int] = {}
        for key, series in found["llm_cost_day_to_date"].items():
            nano = whole(dict(series).get(at - 1, 0))
            sums[(dict(key)["tenant_id"],)] = sums.get((dict(key)["tenant_id"],), 0) + nano
        expected = net(bench, "tenant_id", since_ms=day_ms, until_ms=day_ms + DAY)
        assert {k: v for k, v in sums.items() if v} == expected
        hours = [
            whole(value)
            for key, series in found["rollup:llm_net_cost:increase1h"].items()
            if "tenant_id" in dict(key)
            for time, value in series
            if at - 86_400 < time <= at
        ]
        assert sum(hours) == sum(expected.values())
        # A mean over hours is that of a day: the other hours are there, at 0.
        assert len(hours) % 24 == 0


def test_one_file_a_block(bench: Bench, tmp_path: Path) -> None:
    one = samples_of(written(bench, tmp_path / "one.om"))
    folder = tmp_path / "blocks"
    written(bench, folder, "--output", f"{folder}/")
    files = sorted(folder.glob("*.om"))
    assert [file.name for file in files] == sorted(file.name for file in files)
    parts: dict[str, dict[tuple[tuple[str, str], ...], list[tuple[float, float]]]] = {}
    for file in files:
        for name, series in samples_of(file).items():
            for key, samples in series.items():
                parts.setdefault(name, {}).setdefault(key, []).extend(samples)
    assert parts == one


def test_the_same_past_is_the_same_text(bench: Bench, tmp_path: Path) -> None:
    first = written(bench, tmp_path / "a.om").read_bytes()
    assert first == written(bench, tmp_path / "b.om").read_bytes()
    assert first.endswith(b"\n# EOF\n")


def test_raw_is_without_records(bench: Bench, tmp_path: Path) -> None:
    names = set(samples_of(written(bench, tmp_path / "raw.om", "--raw")))
    assert "llm_cost_total" in names
    assert not any(":" in name for name in names)


def test_labels_of_the_target(bench: Bench, tmp_path: Path) -> None:
    path = written(
        bench, tmp_path / "past.om", "--label", "job=llm", "--label", "instance=meter:1",
        "--label", 'cluster=a"b',
    )  # fmt: skip
    found = samples_of(path)
    (raw,) = {
        tuple(v for k, v in key if k in ("job", "instance", "cluster"))
        for key in found["llm_cost_total"]
    }
    assert raw == ('a"b', "meter:1", "llm")
    assert all(("job", "llm") in key for series in found.values() for key in series)
    recorded = found["series:llm_cost_total:clamped"]
    assert not any("instance" in dict(key) for key in recorded)
    assert all(("cluster", 'a"b') in key for key in recorded)
    assert not any("cluster" in dict(key) for key in found["job:llm_net_cost:increase1h"])


def test_a_reporting_zone_off_the_hour(tmp_path: Path) -> None:
    """In Kolkata a day begins at 18:30 UTC; its last figure is there all the same."""
    from costmeter.ledger.store import open_for_writing

    open_for_writing(tmp_path / "ledger.db", 900_000).close()
    made = Bench(tmp_path, price_book(tmp_path), Scope("default"), zone="Asia/Kolkata")
    midnight = 1_763_836_200_000
    made.clock.advance((midnight - 7200_000 - made.clock.now_ms()) / 1000)
    for _ in range(16):
        made.use("acme", 1_000)
        made.clock.advance(900)
    found = samples_of(written(made, tmp_path / "past.om"))
    (series,) = found["llm_cost_day_to_date"].values()
    values = dict(series)
    assert whole(values[midnight / 1000 - 1]) == 8_000_000
    assert whole(values[(midnight + 1_800_000) / 1000 - 1]) == 2_000_000
    made.close()


def test_mistakes(ledger: list[str], bench: Bench, tmp_path: Path, capsys) -> None:
    (tmp_path / "there.om").write_text("x")
    for words, said in (
        (["--label", "job"], "is no label"),
        (["--label", "model=x"], "of its own"),
        (["--label", "__name__=x"], "is no label"),
        (["--label", "job="], "one Prometheus job"),
        (["--until", "1990-01-01"], "nothing before --until"),
        (
            ["--since", instant(end_of(bench)), "--until", instant(end_of(bench))],
            "nothing to write",
        ),
        (["--output", str(tmp_path / "there.om")], "--force"),
        (["--output", "/proc/nowhere/x.om"], "cannot be written"),
    ):
        assert main(["backfill", *ledger, *words]) == 1, words
        assert said in capsys.readouterr().err
    assert (tmp_path / "there.om").read_text() == "x"
    assert not list(tmp_path.glob(".*"))


def test_standard_output_holds_only_samples(ledger: list[str], bench: Bench, capsysbinary) -> None:
    assert main(["backfill", *ledger, "--until", instant(end_of(bench))]) == 0
    captured = capsysbinary.readouterr()
    assert captured.out.startswith(b"# HELP llm_cost ")
    assert captured.out.endswith(b"# EOF\n")
    assert b"samples from" in captured.err


def test_growth_over_the_join_is_what_was_spent(tmp_path: Path) -> None:
    """History, live calls, the written past, and then a Prometheus that begins to scrape."""
    made = Bench(tmp_path, price_book(tmp_path), Scope("default"))
    began_ms = made.clock.now_ms()
    old = [
        Usage(f"f:import:{n}", began_ms - (20 - n) * HOUR, HISTORY_FEED, labels("acme"),
              {"input": 1_000 + n})
        for n in range(20)
    ]  # fmt: skip
    made.booking.transact(lambda: made.booking.usages(old, history=True))
    for _ in range(10):
        made.use("acme", 777)
        made.use("beta", 55)
        made.clock.advance(3600)
    made.booking.transact(lambda: None)
    series = {
        dict(key)["tenant_id"]: list(samples)
        for key, samples in samples_of(written(made, tmp_path / "past.om"))[
            "llm_cost_total"
        ].items()
    }
    for minute in range(90):
        if minute % 3 == 0:
            made.use("acme", 13)
            made.use("late", 5)
        made.clock.advance(60)
        for tenant, nano in made.shown("llm_cost_total").items():
            series.setdefault(tenant, []).append((made.clock.now_ms() / 1000, nano / USD))
    spent = {row.group[0]: row.up for row in spend(made.store.connection, ["tenant_id"])}
    late = series.pop("late")
    assert {tenant: whole(grown(samples)) for tenant, samples in series.items()} == {
        tenant: nano for tenant, nano in spent.items() if tenant != "late"
    }
    assert late
    made.close()
