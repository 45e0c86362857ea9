"""Azure's bill from cost management queries, through a real poll into a real ledger."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from costmeter.attribution import Scope
from costmeter.engine.polling import Poller
from costmeter.ledger.polled import Polled
from costmeter.ledger.settle.settlements import Settlements
from costmeter.ledger.terms import Terms
from costmeter.ledger.writer import Writer
from costmeter.model import NANO_PER_USD, BillLine
from costmeter.sources.allowance import Allowance
from costmeter.sources.azure_meters import charge_of, model_of, service_of
from costmeter.sources.azure_query import Pace
from costmeter.sources.contract import Desk, OwnerRule, Settings, SourceError
from costmeter.sources.registry import make
from fakes.azure import (
    CLIENT,
    DIRECTORY,
    SUBSCRIPTION,
    Account,
    AzureCosts,
    AzureMonitor,
    Charge,
)
from fakes.clock import FakeClock
from fakes.reports import Fault, serving
from faults.ledgers import Ledger
from sources.rig import DAY, HOUR, NOW, PRICES, TODAY, pages, running, settings
from sources.test_faults import FAULTS

SCOPE = f"/subscriptions/{SUBSCRIPTION}"
YESTERDAY = "2026-11-21"
OPENAI = {"service": "Cognitive Services", "subcategory": "Azure OpenAI", "group": "ai"}
GPT4O = "gpt-4o 1120 Inp glbl Tokens"


def usd(day: str, actual: str, amortized: str | None = None, **more: Any) -> Charge:
    return Charge(day, actual, amortized, currency="USD", **more)


def of(fake: AzureCosts, owners: tuple[OwnerRule, ...] = (), **options: str) -> Settings:
    said = {"directory": DIRECTORY, "client": CLIENT, "login_url": fake.url}
    if "scope" not in options:
        said["subscriptions"] = SUBSCRIPTION
    return settings(fake, owners=owners, options={**said, **options})


@pytest.fixture
def fake() -> Iterator[AzureCosts]:
    served = AzureCosts()
    served.lives_seconds = 100_000_000
    with serving(served):
        yield served


def lines(
    fake: AzureCosts, since: int = TODAY - 3 * DAY, until: int = TODAY + DAY, **options: str
) -> list[BillLine]:
    source = make("azure_cost", of(fake, **options))
    return [line for page in pages(source, since, until) for line in page.lines]


def nano(amount: str) -> int:
    return round(Decimal(amount) * NANO_PER_USD)


def wanted(fake: AzureCosts, scope: str = SCOPE) -> int:
    """nano-USD on both bases, recomputed: each line is rounded once."""
    sums: dict[tuple[str, ...], Decimal] = {}
    for basis in ("ActualCost", "AmortizedCost"):
        for c in fake.charges.get(scope, []):
            amount = c.actual if basis == "ActualCost" or c.amortized is None else c.amortized
            ai, usage = c.service == OPENAI["service"], c.charge == "Usage"
            detail = (c.charge,) if not usage else (c.subcategory, c.meter) if ai else (c.group,)
            key = (basis, c.day, c.service, *detail)
            sums[key] = sums.get(key, Decimal(0)) + Decimal(amount)
    return sum(round(total * NANO_PER_USD) for total in sums.values())


def a_bill() -> list[Charge]:
    return [
        usd(YESTERDAY, "0", "1.2345678901234", group="web"),
        usd(YESTERDAY, "0.30000000000000004", group="data"),
        usd("2026-11-20", "7E-10", group="data"),
        usd(YESTERDAY, "2.5", meter=GPT4O, **OPENAI),
        usd(YESTERDAY, "0.75", meter="gpt-4o 1120 Outp glbl Tokens", **OPENAI),
        usd(YESTERDAY, "0.5", meter="Speech To Text", **{**OPENAI, "subcategory": "Speech"}),
        usd("2026-11-19", "700", "0", charge="Purchase"),
        usd(YESTERDAY, "0", "0.33", charge="UnusedReservation"),
        usd("2026-11-20", "-4.2", charge="Refund"),
        usd("2026-11-20", "19.01", charge="Tax", service=""),
        usd(YESTERDAY, "100", service="Azure Support", charge="Purchase"),
    ]


def test_the_whole_bill_on_both_bases(fake: AzureCosts) -> None:
    fake.charges[SCOPE] = a_bill()
    whole = lines(fake)
    assert len(whole) == 19  # what is 0 on one of the bases has no line there
    found = {(line.basis, line.line): line for line in whole if line.day != TODAY // DAY - 2}
    assert {line.charge for line in whole} == {
        "usage", "purchase", "adjustment", "tax", "support",
    }  # fmt: skip
    web = found["effective", "Virtual Machines | web"]
    assert (web.amount, web.usd_nano, web.charge) == ("1.2345678901234", 1_234_567_890, "usage")
    assert web.labels.project == "web"
    assert web.labels.account == SUBSCRIPTION
    assert (web.labels.provider, web.labels.category) == ("azure", "cpu_compute")
    assert web.labels.service == "Virtual Machines"
    assert found["billed", "Virtual Machines | data"].amount == "0.30000000000000004"
    tokens = found["effective", f"Cognitive Services | Azure OpenAI | {GPT4O}"]
    assert tokens.labels.model == "gpt-4o"
    assert tokens.labels.service == "Cognitive Services/Azure OpenAI"
    assert (tokens.labels.category, tokens.labels.purpose) == ("llm_api", "inference")
    assert found["billed", "Purchase | Virtual Machines"].usd_nano == 700 * NANO_PER_USD
    assert found["effective", "UnusedReservation | Virtual Machines"].charge == "purchase"
    assert sum(line.usd_nano or 0 for line in whole) == wanted(fake)


def test_free_rows_are_left_out_except_where_a_meter_may_speak(fake: AzureCosts) -> None:
    fake.charges[SCOPE] = [
        usd(YESTERDAY, "0"),
        usd(YESTERDAY, "0", meter=GPT4O, **OPENAI),
    ]
    assert [line.labels.model for line in lines(fake)] == ["gpt-4o"] * 2


def test_maturity_and_window(fake: AzureCosts) -> None:
    days = [date.fromordinal(date(2026, 11, 22).toordinal() - back) for back in range(9)]
    fake.charges[SCOPE] = [usd(day.isoformat(), "1") for day in days]
    found = lines(fake, since=TODAY - 7 * DAY, bases="billed")
    by_day = {line.day - TODAY // DAY: line.maturity for line in found}
    assert by_day == {
        0: "estimated", -1: "provisional", -2: "provisional", -3: "provisional",
        -4: "provisional", -5: "provisional", -6: "final", -7: "final",
    }  # fmt: skip
    asked = fake.questions[0]
    assert asked["timePeriod"] == {"from": "2026-11-15T00:00:00Z", "to": "2026-11-22T23:59:59Z"}
    assert asked["type"] == "ActualCost"
    assert fake.asked[-1].headers["clienttype"] == "costmeter"


def test_other_currencies_are_kept_without_usd(fake: AzureCosts) -> None:
    fake.charges[SCOPE] = [Charge(YESTERDAY, "12.5"), usd(YESTERDAY, "3")]
    found = lines(fake, bases="billed")
    assert [(x.line, x.currency, x.amount, x.usd_nano) for x in found] == [
        ("Virtual Machines | web | EUR", "EUR", "12.5", None),
        ("Virtual Machines | web", "USD", "3", 3 * NANO_PER_USD),
    ]


@pytest.mark.parametrize(
    ("options", "project", "region", "team", "account"),
    [
        ({"group": "resource_group"}, "web", "", "", SUBSCRIPTION),
        ({"group": "location"}, "", "EU West", "", SUBSCRIPTION),
        ({"group": "none"}, "", "", "", SUBSCRIPTION),
        ({"team_tag": "Team"}, "", "", "shop", SUBSCRIPTION),
        ({"group": "subscription", "scope": "/providers/Microsoft.Billing/billingAccounts/7"},
         "0ther", "", "", "0ther"),
        ({"scope": "/providers/Microsoft.Management/managementGroups/root"}, "web", "", "", ""),
    ],
)  # fmt: skip
def test_whose_a_line_is(
    fake: AzureCosts, options: dict[str, str], project: str, region: str, team: str, account: str
) -> None:
    charge = usd(YESTERDAY, "1", tags={"Team": "shop"}, subscription="0ther")
    fake.charges[options.get("scope", SCOPE)] = [charge]
    (line,) = lines(fake, bases="effective", **options)
    said = line.labels
    assert (said.project, said.region, said.team) == (project, region, team)
    assert said.account == account
    assert line.usd_nano == NANO_PER_USD


def test_untagged_usage_and_owner_rules(fake: AzureCosts) -> None:
    fake.charges[SCOPE] = [usd(YESTERDAY, "1"), usd(YESTERDAY, "2", tags={"Team": "_other"})]
    assert [line.labels.team for line in lines(fake, bases="billed", team_tag="Team")] == [
        "_other-", "",
    ]  # fmt: skip
    rules = (OwnerRule("web", tenant_id="shop", team="site"),)
    source = make("azure_cost", of(fake, rules, bases="billed"))
    (page,) = pages(source, TODAY - DAY, TODAY)
    assert [(x.labels.tenant_id, x.labels.team) for x in page.lines] == [("shop", "site")]


def test_ai_like_everything_else(fake: AzureCosts) -> None:
    fake.charges[SCOPE] = [usd(YESTERDAY, "1", meter=GPT4O, **OPENAI)]
    (line,) = lines(fake, bases="billed", meters="none")
    assert line.line == "Cognitive Services | ai"
    assert (line.labels.project, line.labels.model) == ("ai", "")


def test_what_a_machine_has_inside_its_meter_says(fake: AzureCosts) -> None:
    gpu = {"subcategory": "NCadsA100v4 Series Linux", "meter": "NC24ads A100 v4"}
    fake.charges[SCOPE] = [usd(YESTERDAY, "1"), usd(YESTERDAY, "30", **gpu)]
    found = lines(fake, bases="billed", meters="ai+compute")
    assert [(x.line, x.labels.category, x.labels.service) for x in found] == [
        ("Virtual Machines | Dv5 Series | D4 v5", "cpu_compute", "Virtual Machines"),
        (
            "Virtual Machines | NCadsA100v4 Series Linux | NC24ads A100 v4",
            "gpu_compute",
            "Virtual Machines",
        ),
    ]
    assert [x.usd_nano for x in found] == [NANO_PER_USD, 30 * NANO_PER_USD]


def test_several_subscriptions_are_streams_of_their_own(fake: AzureCosts) -> None:
    fake.charges[SCOPE] = [usd(YESTERDAY, "1")]
    fake.charges["/subscriptions/b"] = [usd(YESTERDAY, "2")]
    source = make("azure_cost", of(fake, subscriptions=f"{SUBSCRIPTION}+B+b"))
    found = pages(source, TODAY - DAY, TODAY)
    assert [page.stream for page in found] == [
        f"AmortizedCost {SCOPE}", f"ActualCost {SCOPE}",
        "AmortizedCost /subscriptions/b", "ActualCost /subscriptions/b",
    ]  # fmt: skip
    assert [page.lines[0].labels.account for page in found[1:3]] == [SUBSCRIPTION, "b"]


def test_pages_are_followed_with_the_same_question(fake: AzureCosts) -> None:
    fake.charges[SCOPE] = [usd(YESTERDAY, f"0.{i + 1}", group=f"g{i:02}") for i in range(8)]
    found = lines(fake, bases="billed")
    assert [line.amount for line in found] == [f"0.{i + 1}" for i in range(8)]
    assert fake.questions[0] == fake.questions[1] == fake.questions[2] != fake.questions[3]
    tokens = [asked.query.get("$skiptoken") for asked in fake.asked[1:4]]
    assert tokens == [None, ["A3"], ["A6"]]


def test_dates_as_text(fake: AzureCosts) -> None:
    fake.charges[SCOPE] = [usd(YESTERDAY, "1")]
    fake.date_as_text = True
    assert [line.day for line in lines(fake, bases="billed")] == [TODAY // DAY - 1]


def polled(tmp_path: Path, fake: AzureCosts, **options: str) -> Any:
    return running(tmp_path, "azure_cost", of(fake, **options), books=False)


def test_polls_again_restated_up_and_down(fake: AzureCosts, tmp_path: Path) -> None:
    fake.charges[SCOPE] = a_bill()
    with polled(tmp_path, fake) as rig:
        assert rig.poll() == "19 new"
        assert rig.bills.nano() == wanted(fake)
        assert rig.poll() == "19 same"
        for changed in (
            usd(YESTERDAY, "99.000000001", group="web"),
            usd(YESTERDAY, "0.1", "0.2", group="web"),
            usd(YESTERDAY, "0", group="web"),
            usd("2026-11-02", "1.5", group="late"),
        ):
            fake.charges[SCOPE][0] = changed
            assert "same" in rig.poll()
            assert rig.bills.nano() == wanted(fake)
        rig.ledger.clock.advance(days=7)
        fake.charges[SCOPE] += [usd("2026-11-28", "3", group="new")]
        rig.poll()
        assert rig.bills.nano() == wanted(fake)
        fake.charges[SCOPE] = []
        assert "gone" in rig.poll()
        assert rig.bills.nano() == 0


def test_nothing_there(fake: AzureCosts, tmp_path: Path) -> None:
    with polled(tmp_path, fake) as rig:
        assert rig.poll() == "nothing there"


def test_faults(fake: AzureCosts, tmp_path: Path) -> None:
    fake.charges[SCOPE] = a_bill()
    azure = "x-ms-ratelimit-microsoft.costmanagement"
    more = {
        "429 of Azure": (
            [Fault(429, {f"{azure}-qpu-retry-after": "4", f"{azure}-entity-retry-after": "21"})],
            None,
        ),
        "429 of Azure for long": (
            [Fault(429, {f"{azure}-tenant-retry-after": "61", "Retry-After": "5"})],
            "throttled",
        ),
        "429 of Azure in ms": ([Fault(429, {"x-ms-retry-after-ms": "900"})], None),
    }
    with polled(tmp_path, fake, bases="effective") as rig:
        rig.poll()
        expected = rig.bills.nano()
        for fault, (answers, reason) in {**FAULTS, **more}.items():
            if fault == "data is null":
                continue  # the table below
            rig.pauses.clear()
            rig.ledger.clock.advance(minutes=2)
            fake.faults.extend(answers)
            said = rig.poll()
            if reason is None:
                assert "failed" not in said, fault
                assert rig.pauses, fault
            else:
                assert said.startswith(f"failed: {reason}"), fault
                rig.ledger.clock.advance(minutes=70 if reason == "throttled" else 2)
                assert not fake.faults, fault
                assert "failed" not in rig.poll(), fault
            assert rig.bills.nano() == expected, fault
            assert fake.key not in said, fault
            if fault == "429 of Azure":
                assert rig.pauses == [21]


def test_a_slow_answer_ends_in_time(fake: AzureCosts, tmp_path: Path) -> None:
    fake.charges[SCOPE] = a_bill()
    gate = threading.Event()
    patient = settings(fake, timeout_seconds=0.2, options=of(fake).options)
    with running(tmp_path, "azure_cost", patient, books=False) as rig:
        fake.faults.extend([None, *[Fault(gate=gate)] * 4])
        assert rig.poll().startswith("failed: timeout")
        gate.set()
        rig.ledger.clock.advance(minutes=2)
        rig.poll()
        assert rig.bills.nano() == wanted(fake)


def _changed(**changes: Any) -> Any:
    return lambda answer: {**answer, "properties": {**answer["properties"], **changes}}


def _row(*values: Any) -> Any:
    return _changed(rows=[list(values)])


def _columns(*names: str) -> Any:
    return _changed(columns=[{"name": name, "type": "String"} for name in names])


DAY_OF = 20261121
ANSWERS: Mapping[str, tuple[Any, str]] = {
    "no properties": (lambda _: {"id": "x"}, "malformed"),
    "no columns": (_changed(columns=None), "malformed"),
    "no cost": (_columns("UsageDate", "ServiceName", "ResourceGroupName", "Currency", "X"),
                "malformed"),
    "no currency": (_columns("Cost", "UsageDate", "ServiceName", "ResourceGroupName", "X"),
                    "malformed"),
    "no service": (_columns("Cost", "UsageDate", "X", "ResourceGroupName", "Currency"),
                   "malformed"),
    "no rows": (_changed(rows=None), "malformed"),
    "rows are objects": (_changed(rows=[{"Cost": 1}]), "malformed"),
    "a short row": (_row("number 1", DAY_OF, "VM", "web"), "malformed"),
    "an amount in words": (_row("much", DAY_OF, "VM", "web", "USD"), "malformed"),
    "a switch for an amount": (_row(True, DAY_OF, "VM", "web", "USD"), "malformed"),
    "beyond all reason": (_row("number 1E+30", DAY_OF, "VM", "web", "USD"), "malformed"),
    "no day": (_row("number 1", None, "VM", "web", "USD"), "malformed"),
    "no such day": (_row("number 1", 20261131, "VM", "web", "USD"), "malformed"),
    "a month": (_row("number 1", 202611, "VM", "web", "USD"), "malformed"),
    "another day": (_row("number 1", 20261001, "VM", "web", "USD"), "malformed"),
    "a list for a name": (_row("number 1", DAY_OF, ["VM"], "web", "USD"), "malformed"),
    "no such currency": (_row("number 1", DAY_OF, "VM", "web", "dollars"), "malformed"),
    "a row twice": (_changed(rows=[["number 1", DAY_OF, "VM", "web", "USD"]] * 2),
                    "repeated_page"),
    "a link to itself": (_changed(rows=[], nextLink="http://x/y"), "repeated_page"),
    "a link that is none": (_changed(nextLink=["x"]), "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_cannot_be_read(fake: AzureCosts, name: str) -> None:
    change, reason = ANSWERS[name]
    fake.charges[SCOPE] = [usd(YESTERDAY, "1")]
    if name == "a link to itself":
        fake.charges["/y"] = fake.charges[SCOPE]
        fake.questioned = lambda *_: {"properties": {"rows": [], "columns": []}}  # type: ignore[method-assign]
    fake.faults.extend([None, *[Fault(change=change)] * 3])
    with pytest.raises(SourceError) as caught:
        lines(fake)
    assert caught.value.reason == reason


def test_an_amount_that_is_null_charges_nothing(fake: AzureCosts) -> None:
    fake.charges[SCOPE] = [usd(YESTERDAY, "0")]
    fake.faults.extend([None, Fault(change=_row(None, DAY_OF, "VM", "web", "USD"))])
    assert lines(fake, bases="billed") == []


def test_a_page_that_repeats(fake: AzureCosts) -> None:
    fake.charges[SCOPE] = [usd(YESTERDAY, "1", group=f"g{i}") for i in range(5)]
    same = [["number 1", DAY_OF, "Virtual Machines", "g0", "USD"]]
    fake.faults.extend([None, *[Fault(change=_changed(rows=same))] * 2])
    with pytest.raises(SourceError) as caught:
        lines(fake)
    assert caught.value.reason == "repeated_page"


def test_figures_that_change_between_two_questions(fake: AzureCosts, tmp_path: Path) -> None:
    fake.charges[SCOPE] = [usd(YESTERDAY, "5", meter=GPT4O, **OPENAI)]
    row = ["number 5.02", DAY_OF, "Azure OpenAI", GPT4O, "USD"]
    with polled(tmp_path, fake) as rig:
        # A token and the first question come before.
        fake.faults.extend([None, None, Fault(change=_changed(rows=[row]))])
        assert "the sum of Cognitive Services by meter differs by -0.02 from" in rig.poll()
        rig.poll()
        assert rig.bills.nano() == wanted(fake)
        row = ["number 4.9", DAY_OF, "Cognitive Services", "ai", "USD"]
        rig.ledger.clock.advance(minutes=2)
        fake.faults.extend([Fault(change=_changed(rows=[row])), Fault(change=_changed(rows=[
            ["number 4.9", DAY_OF, "Azure OpenAI", GPT4O, "USD"]
        ]))])  # fmt: skip
        assert "server: the sum of all usage differs by -0.1 from" in rig.poll()


def test_query_units_are_kept() -> None:
    clock, waits = FakeClock(NOW * 1000), []

    def pause(seconds: float) -> bool:
        waits.append(seconds)
        clock.advance(seconds)
        return False

    desk, pace = Desk(clock, Allowance(), pause), Pace()
    for _ in range(12):
        pace.take(desk, 1)
    assert waits == []
    pace.take(desk, 1)
    assert waits == [10]
    spent = [(clock.now_ms(), 1)] + [(NOW * 1000, 1)] * 12
    for _ in range(48 * 3):
        pace.take(desk, 2)
        spent.append((clock.now_ms(), 2))
        for within_ms, most in ((10_000, 12), (60_000, 60)):
            now = clock.now_ms()
            assert sum(units for at, units in spent if at > now - within_ms) <= most


def test_an_hour_has_only_so_many_units() -> None:
    pace, clock = Pace(), FakeClock(NOW * 1000)
    desk = Desk(clock, Allowance(), lambda _: False)
    for _ in range(50):
        pace.take(desk, 12)
        clock.advance(20)
    with pytest.raises(SourceError) as caught:
        pace.take(desk, 1)
    assert caught.value.reason == "throttled"
    # The first unit was taken 1,000 s ago.
    assert caught.value.retry_after_ms == 2_600_000
    clock.advance(2_600)
    pace.take(desk, 12)


@pytest.mark.parametrize(
    ("meter", "part", "model"),
    [
        ("gpt-4o 1120 Inp glbl Tokens", "Azure OpenAI", "gpt-4o"),
        ("gpt-4o-mini-0718-Outp-glbl Tokens", "Azure OpenAI", "gpt-4o-mini"),
        ("gpt 4.1 cached Inp glbl Tokens", "Azure OpenAI", "gpt-4.1"),
        ("GPT 5 Mini Inpt Glbl 1M Tokens", "Azure OpenAI GPT5", "gpt-5-mini"),
        ("5.4 inp Gl 1M", "Azure OpenAI GPT5", "gpt-5.4"),
        ("5.4 longco opt Gl", "Azure OpenAI GPT5", "gpt-5.4"),
        ("o4-mini 0416 Inp glbl Tokens", "Azure OpenAI Reasoning", "o4-mini"),
        ("text-embedding-3-small-glbl Tokens", "Azure OpenAI", "text-embedding-3-small"),
        ("Provisioned Managed Global Unit", "Azure OpenAI", ""),
        ("Speech To Text", "Speech", ""),
        ("Inp glbl Tokens", "", ""),
        ("", "", ""),
    ],
)
def test_the_model_in_a_meter(meter: str, part: str, model: str) -> None:
    assert model_of(meter, part) == model


def test_the_service_of_a_meter() -> None:
    assert service_of("Azure OpenAI", "Azure OpenAI", GPT4O) == "Azure OpenAI"
    assert service_of("Azure OpenAI", "", GPT4O) == "Azure OpenAI"
    reserved = service_of("Foundry Models", "Azure OpenAI", "Provisioned Managed Global Unit")
    assert reserved == "Foundry Models/Azure OpenAI provisioned"


@pytest.mark.parametrize(
    ("kind", "service", "charge"),
    [
        ("Usage", "Storage", "usage"),
        ("usage", "Azure Support", "support"),
        ("Purchase", "Storage", "purchase"),
        ("Purchase", "Support", "support"),
        ("UnusedReservation", "Storage", "purchase"),
        ("UnusedSavingsPlan", "Storage", "purchase"),
        ("Tax", "", "tax"),
        ("Credit", "", "credit"),
        ("Refund", "Storage", "adjustment"),
        ("RoundingAdjustment", "", "adjustment"),
        ("something new", "Azure Support", "adjustment"),
    ],
)
def test_what_a_charge_is_for(kind: str, service: str, charge: str) -> None:
    assert charge_of(kind, service) == charge


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"subscriptions": ""}, "names no part of Azure"),
        ({"scope": "/subscriptions/a", "subscriptions": "a"}, "names no part of Azure"),
        ({"scope": "subscriptions/a"}, "is no scope"),
        ({"scope": "/providers/Microsoft.Storage/x"}, "is no scope"),
        ({"bases": "list"}, "write some of effective"),
        ({"group": "meter"}, "none of resource_group, subscription, location, none"),
        ({"group": "location", "team_tag": "team"}, "keep either group or the tag"),
        ({"project_tag": "p", "team_tag": "team"}, "Azure groups by one tag"),
        ({"meters": "all"}, "write some of ai"),
    ],
)
def test_wrong_options(fake: AzureCosts, options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make("azure_cost", of(fake, **options))


def test_bill_and_meters_meet_in_one_scope(fake: AzureCosts, tmp_path: Path) -> None:
    """Two deployments are metered; the bill divides what it says by them, to the nano."""
    monitor = AzureMonitor()
    account = Account(deployments=[("chat", "gpt-4o", "Standard"), ("ask", "gpt-4o", "Standard")])
    monitor.accounts = [account]
    rules = (OwnerRule("*", "chat", "shop"), OwnerRule("*", "ask", "help"))
    scope = Scope(
        "azure/openai", provider="azure", service="*OpenAI*", detail_from="azure-meters",
        amount_from="azure-bill",
    )  # fmt: skip
    rest = Scope("azure/rest", provider="azure", detail_from="none", amount_from="azure-bill")
    clock = FakeClock(NOW * 1000)
    with (
        serving(monitor),
        Ledger(
            tmp_path, clock, Terms(birth_hold_ms=0, scopes=(scope, rest)), price_text=PRICES
        ) as ledger,
    ):
        writer = Writer(ledger.booking, ledger.tally)
        writer.start()
        polled = Polled(ledger.booking, Settlements(ledger.booking))
        options = {"directory": DIRECTORY, "client": CLIENT, "subscriptions": SUBSCRIPTION}
        key = of(fake).secret
        sources = [
            make(kind, Settings(name, key, base_url=served.url, owners=rules,
                                options={**options, "login_url": served.url}))
            for kind, name, served in (
                ("azure_openai", "azure-meters", monitor), ("azure_cost", "azure-bill", fake),
            )
        ]  # fmt: skip
        pollers = [Poller(s, polled, writer, clock, ledger.tally) for s in sources]
        for poller in pollers:
            assert "failed" not in poller.poll()
        account.calls(TODAY + 11 * HOUR, "chat", "gpt-4o", 300_000, 0)  # 0.6 USD
        account.calls(TODAY + 12 * HOUR, "ask", "gpt-4o", 100_000, 0)  # 0.2 USD
        day = "2026-11-22"
        fake.charges[SCOPE] = [
            usd(day, "0.400000001", meter=GPT4O, **OPENAI),
            usd(day, "0.3", meter="Neural Voice", **{**OPENAI, "subcategory": "Speech"}),
            usd(day, "1.5"),
        ]
        for days in (1, 1, 5):
            clock.advance(days=days)
            for poller in pollers:
                assert "failed" not in poller.poll()
        rows = ledger.store.connection.execute(
            "SELECT tenant_id, service, sum(up - down) FROM day_cell JOIN dim USING (org, dim)"
            " GROUP BY 1, 2 HAVING sum(up - down) ORDER BY 1, 2"
        ).fetchall()
        writer.close()
    assert [tuple(row) for row in rows if row[1] == "Azure OpenAI"] == [
        ("help", "Azure OpenAI", 100_000_000),
        ("shop", "Azure OpenAI", 300_000_001),
    ]
    assert sum(row[2] for row in rows) == 2_200_000_001
