"""OpenCost as a bill and as meters: to the nano, through the poller and the ledger."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from costmeter.attribution import Scope
from costmeter.engine.polling import Poller
from costmeter.ledger.polled import Polled
from costmeter.ledger.settle.settlements import Settlements
from costmeter.ledger.terms import Terms
from costmeter.ledger.writer import Writer
from costmeter.model import BillLine, Labels, Usage
from costmeter.sources.contract import (
    Desk,
    OwnerRule,
    Page,
    Rhythm,
    Source,
    SourceError,
    Window,
)
from costmeter.sources.gather import Charges
from costmeter.sources.registry import make
from fakes.clock import FakeClock
from fakes.opencost import OpenCostApi
from fakes.reports import Fault, serving
from faults.ledgers import Ledger
from sources.rig import DAY, HOUR, NOW, TODAY, pages, running, settings
from sources.test_faults import FAULTS

YESTERDAY = TODAY - DAY
EC2 = "Amazon Elastic Compute Cloud - Compute"
SHORT = Rhythm(lookback_days=1, restated_days=1, step_days=1)
#: Which fields are one line of the bill, written down once more.
KINDS = {
    "cpu": ("cpuCost", "cpuCostAdjustment"),
    "memory": ("ramCost", "ramCostAdjustment"),
    "storage": ("pvCost", "pvCostAdjustment"),
    "network": ("networkCost", "networkCostAdjustment", "loadBalancerCost",
                "loadBalancerCostAdjustment"),
    "gpu": ("gpuCost", "gpuCostAdjustment"),
    "shared": ("sharedCost",),
    "external": ("externalCost",),
}  # fmt: skip
PRICES = """
prices:
  - {provider: kubernetes, model: cpu, source: test, usd_per_hour: {cpu_core: 0.031611}}
  - {provider: kubernetes, model: memory, source: test, usd_per_hour: {memory_gib: 0.004237}}
  - {provider: kubernetes, model: storage, source: test, usd_per_unit: {storage_gib_month: 0.04}}
  - {provider: kubernetes, model: network, source: test, usd_per_unit: {network_gb: 0.12}}
"""
#: By field: pieces of an hour or a byte, and what a piece costs in nano-USD.
PRICED = {
    "cpuCoreHours": (Fraction(3_600_000), Fraction(31_611_000, 3_600_000)),
    "ramByteHours": (Fraction(3_600_000, 1 << 20), Fraction(4_237_000, 1024 * 3_600_000)),
    "pvByteHours": (Fraction(3_600_000, 1 << 20), Fraction(40_000_000, 730 * 1024 * 3_600_000)),
    "networkTransferBytes": (Fraction(1), Fraction(120_000_000, 10**9)),
}


@pytest.fixture
def fake() -> Iterator[OpenCostApi]:
    with serving(OpenCostApi()) as found:
        assert isinstance(found, OpenCostApi)
        yield found


def read(fake: OpenCostApi, **changes: Any) -> tuple[list[Usage], list[BillLine]]:
    found = pages(make("opencost", settings(fake, **changes)), YESTERDAY, TODAY + DAY)
    return [u for p in found for u in p.usages], [line for p in found for line in p.lines]


def costs(chance: random.Random) -> dict[str, Any]:
    fields = {name: chance.random() * 10 for names in KINDS.values() for name in names}
    fields["cpuCostAdjustment"] = -chance.random()
    fields["networkCost"] = chance.choice((0, 3, 1.5e-7, 2.5e-320))
    return fields


def recomputed(fields: dict[str, Any]) -> dict[str, int]:
    """Nano-USD by kind, from the texts of the numbers alone."""
    return {
        kind: round(sum(Fraction(repr(fields.get(name, 0))) for name in names) * 10**9)
        for kind, names in KINDS.items()
    }


def test_a_bill_by_day_namespace_and_kind(tmp_path: Path, fake: OpenCostApi) -> None:
    chance = random.Random(4)
    expected: dict[tuple[int, str, str], int] = {}

    def set_costs(at: int, name: str) -> None:
        fields = costs(chance)
        fake.add(at, name, **fields)
        for kind, nano in recomputed(fields).items():
            expected[at // DAY, name, kind] = nano

    for day in range(8):
        for name in ("search", "ads", "kube-system", "__unallocated__"):
            set_costs(TODAY - day * DAY, name)
    with running(tmp_path, "opencost", settings(fake), books=False) as rig:

        def told() -> dict[tuple[int, str, str], int]:
            return {
                (line.day, *line.line.split(" | ")): line.usd_nano or 0  # type: ignore[misc]
                for line in rig.bills.standing.values()
            }

        assert rig.poll() == f"{8 * 4 * 7} new"
        assert told() == expected
        assert rig.bills.nano() == sum(expected.values())
        assert rig.poll() == f"{3 * 4 * 7} same"
        set_costs(TODAY, "search")  # restated up and down
        set_costs(YESTERDAY, "ads")
        assert rig.poll() == f"{3 * 4 * 7 - 14} same, 14 restated"
        assert told() == expected
        del fake.found[YESTERDAY]["ads"]
        assert "7 gone" in rig.poll()
        for kind in KINDS:
            expected[YESTERDAY // DAY, "ads", kind] = 0
        assert told() == expected
        maturities = {line.day: line.maturity for line in rig.bills.standing.values()}
        today = TODAY // DAY
        assert [maturities[today - n] for n in range(4)] == [
            "estimated", "provisional", "provisional", "final",
        ]  # fmt: skip
        assert {line.basis for line in rig.bills.history} == {"effective"}


def test_whose_it_is(fake: OpenCostApi) -> None:
    fake.add(YESTERDAY, "search", cpuCost=1.25)
    fake.add(YESTERDAY, "ads", ramCost=2.5)
    fake.add(YESTERDAY, "__unallocated__", pvCost=0.5)
    fake.idle[YESTERDAY] = {"cpuCost": 3.0, "cpuCostAdjustment": -4.0}
    rules = (OwnerRule(project="sea*", tenant_id="acme", team="s"), OwnerRule(tenant_id="rest"))
    _, lines = read(fake, owners=rules, account="cluster-1")
    assert [
        (line.amount, line.labels.tenant_id, line.labels.project, line.labels.service,
         line.labels.category) for line in lines
    ] == [
        ("1.25", "acme", "search", "", "cpu_compute"), ("2.5", "rest", "ads", "", "memory"),
        ("0.5", "", "", "unallocated", "storage"), ("-1", "", "", "idle", "cpu_compute"),
    ]  # fmt: skip
    assert {(x.labels.provider, x.labels.account) for x in lines} == {("kubernetes", "cluster-1")}
    assert {line.charge for line in lines} == {"usage"}
    _, lines = read(fake, options={"idle": "false"})
    assert [line.amount for line in lines] == ["1.25", "2.5", "0.5"]
    assert {line.labels.tenant_id for line in lines} == {""}


def test_labels_say_whose_it_is(fake: OpenCostApi) -> None:
    fake.add(YESTERDAY, "ns/search", cpuCost=1)
    fake.add(YESTERDAY, "ns/__unallocated__", cpuCost=2)
    fake.add(YESTERDAY, "__unallocated__/__unallocated__", cpuCost=4)
    fake.idle[YESTERDAY] = {"cpuCost": 8}
    options = {"aggregate": "namespace,label:team", "team_tag": "team", "tenant_tag": "namespace"}
    _, lines = read(fake, options=options)
    assert {line.amount: (line.labels.tenant_id, line.labels.team) for line in lines} == {
        "1": ("ns", "search"), "2": ("ns", ""), "4": ("", ""), "8": ("", ""),
    }  # fmt: skip
    assert fake.asked[0].query["aggregate"] == ["namespace,label:team"]


def test_a_cost_of_a_kind_that_nobody_knows_is_not_lost(fake: OpenCostApi) -> None:
    fake.add(YESTERDAY, "search", cpuCost=0.1, waterCost=2.5, totalCost=2.6)
    fake.add(YESTERDAY, "ads", cpuCost=0.1, ramCost=0.2, totalCost=0.1 + 0.2)
    _, lines = read(fake, options={"currency": "EUR"})
    assert [(line.line, line.amount, line.usd_nano) for line in lines] == [
        ("search | cpu | EUR", "0.1", None), ("search | other | EUR", "2.5", None),
        ("ads | cpu | EUR", "0.1", None), ("ads | memory | EUR", "0.2", None),
    ]  # fmt: skip


def test_usage_by_hour(tmp_path: Path, fake: OpenCostApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.rig.PRICES", PRICES)
    chance = random.Random(7)
    sums: dict[str, int] = defaultdict(int)
    nano = records = 0
    for hour in range(30):
        for name in ("search", "ads"):
            fields = {field: chance.random() * 10 ** chance.randrange(12) for field in PRICED}
            fields["cpuCoreHours"] %= 100
            fake.add(YESTERDAY + hour * HOUR, name, **fields, cpuCost=1.0, gpuHours=8)
            for field, (per, price) in PRICED.items():
                count = round(Fraction(repr(fields[field])) * per)
                sums[field] += count
                records += count > 0
                nano += round(count * price)
    chosen = settings(fake, options={"yields": "usage"}, rhythm=SHORT)
    with running(tmp_path, "opencost", chosen) as rig:
        assert rig.poll() == f"{records} new"
        assert rig.bills.standing == {}
        assert rig.booked("cpu_core_ms") == sums["cpuCoreHours"]
        assert rig.booked("memory_mib_ms") == sums["ramByteHours"]
        assert rig.booked("storage_mib_ms") == sums["pvByteHours"]
        assert rig.booked("network_bytes") == sums["networkTransferBytes"]
        assert rig.booked("gpu_ms") == 0
        assert rig.cost() == nano
        assert rig.poll() == f"{records} same"
        # Restated down, and an hour that is there no more.
        row = fake.found[YESTERDAY]["search"]
        was = round(Fraction(repr(row["cpuCoreHours"])) * 3_600_000)
        row["cpuCoreHours"] = 0.0000001
        gone = fake.found.pop(YESTERDAY + HOUR)
        lost = sum(round(Fraction(repr(r["cpuCoreHours"])) * 3_600_000) for r in gone.values())
        rig.poll()
        assert rig.booked("cpu_core_ms") == sums["cpuCoreHours"] - was - lost


def test_what_usage_says(fake: OpenCostApi) -> None:
    fake.add(YESTERDAY, "search", cpuCoreHours=0.5, gpuHours=2, ramByteHours=1 << 30)
    fake.idle[YESTERDAY] = {"cpuCoreHours": 7.5, "gpuHours": 0}
    fake.add(TODAY + 10 * HOUR, "search", cpuCoreHours=1)  # the hour that lasts
    options = {"yields": "usage", "meters": "cpu+gpu", "provider": "aws"}
    usages, lines = read(fake, options=options, tenant_id="acme")
    assert lines == []
    assert [
        (u.labels.tenant_id, u.labels.provider, u.labels.model, u.labels.category, u.quantities)
        for u in usages
    ] == [
        ("acme", "aws", "cpu", "cpu_compute", {"cpu_core_ms": 1_800_000}),
        ("acme", "aws", "gpu", "gpu_compute", {"gpu_ms": 7_200_000}),
        ("unattributed", "aws", "cpu", "cpu_compute", {"cpu_core_ms": 27_000_000}),
    ]  # fmt: skip
    assert fake.asked[-1].query["window"] == ["2026-11-22T00:00:00Z,2026-11-22T10:00:00Z"]


def test_faults(tmp_path: Path, fake: OpenCostApi) -> None:
    fake.add(YESTERDAY, "search", cpuCost=1.25)
    with running(tmp_path, "opencost", settings(fake, rhythm=SHORT), books=False) as rig:
        for fault, (answers, reason) in FAULTS.items():
            fake.faults.extend(answers)
            said = rig.poll()
            if reason is None:
                assert "failed" not in said, fault
            else:
                assert said.startswith(f"failed: {reason}"), (fault, said)
                rig.ledger.clock.advance(minutes=70 if reason == "throttled" else 1)
                assert "failed" not in rig.poll(), fault
            assert rig.bills.nano() == 1_250_000_000, fault
            assert fake.key not in said, fault
        empties: tuple[Any, ...] = (None, {})
        for fake.empty in empties:
            assert rig.poll() == "1 same"


def test_a_slow_answer(tmp_path: Path, fake: OpenCostApi) -> None:
    gate = threading.Event()
    chosen = settings(fake, timeout_seconds=0.1, rhythm=SHORT)
    with running(tmp_path, "opencost", chosen) as rig:
        fake.faults.extend([Fault(gate=gate)] * 4)
        assert rig.poll().startswith("failed: timeout")
        gate.set()
        assert rig.poll() == "nothing there"


def row_with(**changes: Any) -> Any:
    return lambda a: {**a, "data": [{"x": {**a["data"][0]["x"], **changes}}]}


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        (lambda _: {"code": 500, "message": "no Prometheus"}, "server", "says 500: no Prometheus"),
        (lambda _: {"code": 400, "message": "bad"}, "request", "OpenCost says 400: bad"),
        (lambda a: {**a, "data": a["data"] * 2}, "repeated_page", "came twice"),
        (lambda _: {"code": 200}, "malformed", "data: missing"),
        (lambda a: {**a, "data": [[]]}, "malformed", "expected a list of sets"),
        (lambda a: {**a, "data": [{"x": 5}]}, "malformed", "data.x: expected an object"),
        (row_with(window=None), "malformed", "window: missing"),
        (row_with(window={"start": "2026-11-20T00:00:00Z"}), "malformed", "is not a step"),
        (row_with(window={"start": "2026-11-21T07:00:00Z"}), "malformed", "is not a step"),
        (row_with(cpuCost="x"), "malformed", "cpuCost: expected a number"),
        (row_with(cpuCost=True), "malformed", "cpuCost: expected a number"),
        (row_with(cpuCost=1e12), "malformed", "beyond all reason"),
    ],
)
def test_answers_that_cannot_be(fake: OpenCostApi, change: Any, reason: str, said: str) -> None:
    fake.add(YESTERDAY, "x", cpuCost=1)
    fake.faults.extend([Fault(change=change)] * 4)
    with pytest.raises(SourceError, match=said) as caught:
        read(fake)
    assert caught.value.reason == reason


@pytest.mark.parametrize("written", [-1, "7", True, 1e40, 1e300, [1]])
def test_usage_that_cannot_be(fake: OpenCostApi, written: Any) -> None:
    fake.add(YESTERDAY, "x", cpuCoreHours=written)
    with pytest.raises(SourceError, match="cpuCoreHours: expected"):
        read(fake, options={"yields": "usage"})


class AwsBill:
    """A cloud's bill of one line, final two days later."""

    name = "aws"
    rhythm = Rhythm(lookback_days=4, step_days=30)

    def fetch(self, window: Window, desk: Desk) -> Iterator[Page]:
        charges = Charges(window.now_ms, 2)
        labels = Labels("", "cpu_compute", "", "aws", "1", "", "", "", "", "", EC2, "", "")
        charges.add(TODAY * 1000, "ec2", labels, Decimal("0.12"), "USD")
        yield Page("bill", window.since_ms, window.until_ms, (), charges.take())


def test_the_key_by_which_a_cloud_bill_is_divided(tmp_path: Path, fake: OpenCostApi) -> None:
    rules = (OwnerRule(project="search", tenant_id="acme"), OwnerRule(tenant_id="rest"))
    options = {"yields": "usage", "provider": "aws", "service": EC2}
    chosen = settings(fake, options=options, owners=rules, account="1")
    scope = Scope("ec2", "aws", service=EC2, detail_from=chosen.name, amount_from="aws")
    clock = FakeClock(NOW * 1000)
    terms = Terms(birth_hold_ms=0, scopes=(scope,))
    price = "{provider: aws, model: cpu, source: test, usd_per_hour: {cpu_core: 0.04}}"
    with Ledger(tmp_path, clock, terms, price_text=f"prices: [{price}]") as ledger:
        writer = Writer(ledger.booking, ledger.tally)
        writer.start()
        polled = Polled(ledger.booking, Settlements(ledger.booking))
        sources: tuple[Source, ...] = (make("opencost", chosen), AwsBill())
        pollers = [Poller(source, polled, writer, clock, ledger.tally) for source in sources]

        def told() -> dict[str, int]:
            for poller in pollers:
                assert "failed" not in poller.poll()
            sql = (
                "SELECT d.tenant_id, sum(c.up - c.down) FROM day_cell AS c "
                "JOIN dim AS d ON d.dim = c.dim GROUP BY 1"
            )
            return dict(ledger.store.connection.execute(sql).fetchall())

        fake.add(TODAY + 5 * HOUR, "search", cpuCoreHours=3.0)
        fake.add(TODAY + 6 * HOUR, "ads", cpuCoreHours=1.0)
        assert told() == {"acme": 120_000_000, "rest": 40_000_000}
        clock.advance(days=3)
        assert told() == {"acme": 90_000_000, "rest": 30_000_000}
        writer.close()


def test_mistakes(fake: OpenCostApi) -> None:
    for options, said in (
        ({"yields": "both"}, "option yields=both is none of costs, usage"),
        ({"aggregate": "planet"}, "option aggregate names 'planet'"),
        ({"team_tag": "team"}, "write for example aggregate=namespace,label:team"),
        ({"currency": "usd"}, "no code like USD"),
        ({"meters": "water"}, "option meters names 'water'"),
    ):
        with pytest.raises(ValueError, match=said):
            make("opencost", settings(fake, options=options))
    fake.port = 0
    with pytest.raises(ValueError, match="needs base_url"):
        make("opencost", settings(fake).__class__("x", settings(fake).secret))
