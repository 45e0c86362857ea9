"""Azure OpenAI's usage from Azure Monitor, through a real poll into a real ledger."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from costmeter.model import Usage
from costmeter.sources.contract import OwnerRule, Settings, SourceError
from costmeter.sources.registry import make
from fakes.azure import CLIENT, DIRECTORY, SUBSCRIPTION, Account, Azure, AzureMonitor
from fakes.reports import Fault, serving
from sources.rig import DAY, HOUR, NOW, TODAY, Rig, pages, running, settings
from sources.test_faults import FAULTS

YESTERDAY = TODAY - DAY
#: nano-USD a token under the rig's prices.
INPUT, OUTPUT = 2_000, 8_000


def of(fake: Azure, owners: tuple[OwnerRule, ...] = (), **options: str) -> Settings:
    said = {"subscriptions": SUBSCRIPTION, "directory": DIRECTORY, "client": CLIENT}
    return settings(fake, owners=owners, options={**said, "login_url": fake.url, **options})


def polled(tmp_path: Path, fake: Azure, **options: str) -> Any:
    return running(tmp_path, "azure_openai", of(fake, **options))


@pytest.fixture
def account() -> Account:
    return Account(
        deployments=[
            ("chat", "gpt-4o", "GlobalStandard"),
            ("night", "gpt-4o", "GlobalBatch"),
            ("reserved", "gpt-4o", "DataZoneProvisionedManaged"),
            ("vectors", "text-embedding-3-small", "Standard"),
        ]
    )


@pytest.fixture
def fake(account: Account) -> Iterator[AzureMonitor]:
    served = AzureMonitor()
    served.accounts = [account]
    served.lives_seconds = 10_000_000
    with serving(served):
        yield served


def wanted(fake: AzureMonitor) -> int:
    """nano-USD of every token that the monitor holds, recomputed."""
    price = {"ProcessedPromptTokens": INPUT, "GeneratedTokens": OUTPUT}
    return sum(
        int(total or 0) * price.get(metric, 0)
        for account in fake.accounts
        for metric, at, _, total in account.held
        if at < NOW - NOW % HOUR
    )


def usages(fake: AzureMonitor, since: int = YESTERDAY, **options: str) -> list[Usage]:
    source = make("azure_openai", of(fake, **options))
    return [usage for page in pages(source, since, TODAY + DAY) for usage in page.usages]


def test_tokens_by_hour_deployment_and_region(fake: AzureMonitor, account: Account) -> None:
    account.calls(YESTERDAY + 3 * HOUR, "chat", "gpt-4o", 1_000, 200, 7)
    account.calls(YESTERDAY + 3 * HOUR + 60, "chat", "gpt-4o", 500, 0, 1)
    account.calls(YESTERDAY + 4 * HOUR, "chat", "gpt-4o", 30, 4, 1)
    first, second = usages(fake)
    assert first.quantities == {"input": 1_500, "output": 200, "requests": 8}
    assert second.quantities == {"input": 30, "output": 4, "requests": 1}
    assert first.at_ms == (YESTERDAY + 3 * HOUR) * 1000
    said = first.labels
    assert (said.provider, said.model, said.region) == ("azure", "gpt-4o", "swedencentral")
    assert (said.account, said.project) == (SUBSCRIPTION, "acme-openai")
    assert (said.service, said.operation) == ("Azure OpenAI", "generation")


@pytest.mark.parametrize(
    ("deployment", "model", "processing", "service", "operation"),
    [
        ("chat", "gpt-4o", "standard", "Azure OpenAI", "generation"),
        ("night", "gpt-4o", "batch", "Azure OpenAI", "generation"),
        ("reserved", "gpt-4o", "standard", "Azure OpenAI provisioned", "generation"),
        ("vectors", "text-embedding-3-small", "standard", "Azure OpenAI", "embedding"),
    ],
)
def test_what_a_deployment_says(
    fake: AzureMonitor, account: Account, deployment: str, model: str, processing: str,
    service: str, operation: str,
) -> None:  # fmt: skip
    account.calls(YESTERDAY, deployment, model, 10, 2)
    (found,) = usages(fake)
    assert found.processing == processing
    assert found.labels.service == service
    assert (found.labels.model, found.labels.operation) == (model, operation)


def test_a_deployment_that_is_gone_has_the_model_of_its_requests(
    fake: AzureMonitor, account: Account
) -> None:
    account.calls(YESTERDAY, "gone", "o4-mini", 10, 2, 3)
    account.calls(YESTERDAY, "gone", "o3", 10, 2, 4)
    account.held.append(
        ("ProcessedPromptTokens", YESTERDAY + HOUR, {"ModelDeploymentName": "silent"}, 5)
    )
    assert [usage.labels.model for usage in usages(fake)] == ["o3", "silent"]


def test_calls_that_were_refused_are_no_requests(fake: AzureMonitor, account: Account) -> None:
    account.calls(YESTERDAY, "chat", "gpt-4o", 10, 2, 3)
    account.calls(YESTERDAY, "chat", "gpt-4o", 0, 0, 99, StatusCode="429")
    (found,) = usages(fake)
    assert found.quantities["requests"] == 3


def test_tiers(fake: AzureMonitor, account: Account) -> None:
    for tier in ("default", "priority", "flex"):
        account.calls(YESTERDAY, "chat", "gpt-4o", 10, 2, ServiceTierResponse=tier)
    assert [u.processing for u in usages(fake)] == ["standard"]
    split = usages(fake, tiers="true")
    assert [u.processing for u in split] == ["standard", "priority", "flex"]
    assert all(u.quantities == {"input": 10, "output": 2, "requests": 1} for u in split)


def test_the_other_family_of_metrics(fake: AzureMonitor, account: Account) -> None:
    said = {"ModelDeploymentName": "claude", "ModelName": "claude-sonnet-4-5", "Region": "eastus2"}
    for metric, total in (
        ("InputTokens", 10), ("OutputTokens", 20), ("cacheReadInputTokens", 30),
        ("ephemeral5mInputTokens", 40), ("ephemeral1hInputTokens", 50), ("ModelRequests", 6),
    ):  # fmt: skip
        account.held.append((metric, YESTERDAY, said, total))
    # The same traffic in the first family is not read beside it.
    account.calls(YESTERDAY, "claude", "claude-sonnet-4-5", 10, 20)
    (found,) = usages(fake, metrics="models", service="Foundry Models")
    assert found.quantities == {
        "input": 10, "output": 20, "cache_read": 30, "cache_write_5m": 40,
        "cache_write_1h": 50, "requests": 6,
    }  # fmt: skip
    assert found.labels.model == "claude-sonnet-4-5"
    assert found.labels.service == "Foundry Models"


def test_only_accounts_that_run_models_and_are_named(fake: AzureMonitor) -> None:
    another = "0a1b2c3d-0000-4000-8000-00000000000f"
    fake.accounts = [
        Account("acme-chat"),
        Account("acme-speech", kind="SpeechServices"),
        Account("acme-foundry", kind="AIServices"),
        Account("old"),
        Account("acme-two", subscription=another),
    ]
    for account in fake.accounts:
        account.calls(YESTERDAY, "chat", "gpt-4o", 10, 2)
    both = f"{SUBSCRIPTION}+{another}"
    found = usages(fake, subscriptions=both, accounts="ACME-*+none")
    assert [u.labels.project for u in found] == ["acme-chat", "acme-foundry", "acme-two"]
    assert found[-1].labels.account == another
    lists = [asked for asked in fake.asked if asked.path.endswith("CognitiveServices/accounts")]
    assert len(lists) == 3  # two pages, and one of the other subscription


def test_owners_by_account_and_deployment(fake: AzureMonitor, account: Account) -> None:
    for deployment in ("chat", "night"):
        account.calls(YESTERDAY, deployment, "gpt-4o", 10, 2)
    rules = (OwnerRule("acme-*", "night", "research", team="eval"), OwnerRule("*", "*", "shop"))
    source = make("azure_openai", of(fake, rules))
    (page,) = pages(source, YESTERDAY, TODAY)
    assert [(u.labels.tenant_id, u.labels.team) for u in page.usages] == [
        ("shop", ""), ("research", "eval"),
    ]  # fmt: skip


def test_only_hours_that_have_ended(fake: AzureMonitor, account: Account) -> None:
    for at in (NOW - HOUR, NOW):  # 09:30 and 10:30: the hour of the second goes on
        account.calls(at, "chat", "gpt-4o", 10, 2)
    assert [u.at_ms for u in usages(fake)] == [(TODAY + 9 * HOUR) * 1000]
    asked = fake.asked[-1].query["timespan"][0]
    assert asked == "2026-11-21T00:00:00Z/2026-11-22T10:00:00Z"


def test_what_azure_has_forgotten_is_not_asked_for(fake: AzureMonitor, account: Account) -> None:
    assert usages(fake, since=TODAY - 120 * DAY) == []
    assert fake.asked[-1].query["timespan"][0].startswith("2026-08-22T00:00:00Z/")
    source = make("azure_openai", of(fake))
    assert pages(source, TODAY - 120 * DAY, TODAY - 110 * DAY) == []


def totals(rig: Rig, fake: AzureMonitor) -> None:
    assert rig.cost() == wanted(fake)


def test_polls_again_restated_up_and_down(
    fake: AzureMonitor, account: Account, tmp_path: Path
) -> None:
    for hour in range(30):
        account.calls(YESTERDAY + hour * HOUR, "chat", "gpt-4o", 901 + hour, 70)
    with polled(tmp_path, fake) as rig:
        assert rig.poll() == "30 new"
        totals(rig, fake)
        assert rig.poll() == "30 same"
        metric, at, said, _ = account.held[0]
        account.held[0] = (metric, at, said, 5_000)
        assert rig.poll() == "29 same, 1 restated"
        totals(rig, fake)
        account.held[0] = (metric, at, said, 3)
        rig.poll()
        totals(rig, fake)
        account.held[0] = (metric, at, said, None)
        rig.poll()
        totals(rig, fake)
        del account.held[:3]
        assert "1 gone" in rig.poll()
        totals(rig, fake)
        rig.ledger.clock.advance(days=1)
        account.calls(TODAY + 12 * HOUR, "chat", "gpt-4o", 77, 7)
        rig.poll()
        assert rig.booked("input") == sum(
            int(total or 0) for metric, _, _, total in account.held if "Prompt" in metric
        )
        assert rig.another().poll().endswith("same")


def test_an_account_that_was_deleted_keeps_what_it_consumed(
    fake: AzureMonitor, account: Account, tmp_path: Path
) -> None:
    account.calls(YESTERDAY, "chat", "gpt-4o", 1_000, 0)
    with polled(tmp_path, fake) as rig:
        rig.poll()
        fake.accounts = []
        assert "gone" not in rig.poll()
        assert rig.booked("input") == 1_000


def test_nothing_there(fake: AzureMonitor, tmp_path: Path) -> None:
    with polled(tmp_path, fake) as rig:
        assert rig.poll() == "nothing there"


LISTS: Mapping[str, tuple[Any, str]] = {
    "no list of accounts": ({}, "malformed: value: missing"),
    "an account without an id": ({"value": [{"kind": "OpenAI"}]}, "malformed: id"),
    "a link to itself": ({"value": [], "nextLink": "http://x/a"}, "repeated_page"),
    "a link elsewhere": ({"value": [], "nextLink": "nowhere"}, "malformed: nextLink"),
    "a link that is none": ({"value": [], "nextLink": 5}, "malformed: nextLink"),
    "a page twice": ({"value": [{"name": "a", "id": "/subscriptions/"}], "nextLink": "/b"},
                     "repeated_page"),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_lists_that_cannot_be_read(fake: AzureMonitor, name: str) -> None:
    answer, said = LISTS[name]
    source = make("azure_openai", of(fake))
    fake.faults.extend([None, *[Fault(body=json.dumps(answer).encode())] * 3])
    with pytest.raises(SourceError) as caught:
        pages(source, YESTERDAY, TODAY)
    assert f"{caught.value.reason}: {caught.value}".startswith(said)


def metric(answer: Any) -> Any:
    return answer["value"][0]


def series(answer: Any) -> Any:
    return metric(answer)["timeseries"][0]


def _set(where: Any, key: str, value: Any) -> Any:
    def change(answer: Any) -> Any:
        where(answer)[key] = value
        return answer

    return change


def _twice(answer: Any) -> Any:
    metric(answer)["timeseries"] *= 2
    return answer


def _many(answer: Any) -> Any:
    metric(answer)["timeseries"] = [{"metadatavalues": [], "data": []}] * 5_000
    return answer


def _at(text: str, total: Any = 1.0) -> list[Any]:
    return [{"timeStamp": text, "total": total}]


METRICS: Mapping[str, tuple[Any, str]] = {
    "another interval": (_set(lambda a: a, "interval", "PT1M"), "malformed"),
    "a metric is missing": (_set(lambda a: a, "value", []), "malformed"),
    "no list": (_set(lambda a: a, "value", None), "malformed"),
    "it could not be summed up": (_set(metric, "errorCode", "ServiceUnavailable"), "server"),
    "no series": (_set(metric, "timeseries", 5), "malformed"),
    "a series twice": (_twice, "repeated_page"),
    "too many series": (_many, "too_large"),
    "half an hour": (_set(series, "data", _at("2026-11-21T00:30:00Z")), "malformed"),
    "before": (_set(series, "data", _at("2026-11-20T00:00:00Z")), "malformed"),
    "no instant": (_set(series, "data", _at("yesterday")), "malformed"),
    "a part of a token": (_set(series, "data", _at("2026-11-21T00:00:00Z", 1.5)), "malformed"),
    "less than nothing": (_set(series, "data", _at("2026-11-21T00:00:00Z", -1)), "malformed"),
    "a word": (_set(series, "data", _at("2026-11-21T00:00:00Z", "many")), "malformed"),
}


@pytest.mark.parametrize("name", METRICS)
def test_metrics_that_cannot_be_read(fake: AzureMonitor, account: Account, name: str) -> None:
    account.calls(YESTERDAY, "chat", "gpt-4o", 10, 2)
    change, reason = METRICS[name]
    source = make("azure_openai", of(fake))
    # A token, the accounts and two pages of deployments come before.
    fake.faults.extend([None] * 4 + [Fault(change=change)])
    with pytest.raises(SourceError) as caught:
        pages(source, YESTERDAY, TODAY)
    assert caught.value.reason == reason
    assert not fake.faults


@pytest.mark.parametrize("change", [
    _set(series, "data", []),
    _set(series, "data", None),
    _set(series, "data", [{"timeStamp": "2026-11-21T00:00:00Z", "total": None}]),
    _set(series, "data", _at("2026-11-22T00:00:00Z")),
    _set(metric, "timeseries", []),
])  # fmt: skip
def test_what_is_missing_is_no_usage(fake: AzureMonitor, account: Account, change: Any) -> None:
    account.held.append(("ProcessedPromptTokens", YESTERDAY, {"ModelDeploymentName": "chat"}, 10))
    fake.faults.extend([None] * 4 + [Fault(change=change)])
    (page,) = pages(make("azure_openai", of(fake)), YESTERDAY, TODAY)
    assert page.usages == ()


def test_faults(fake: AzureMonitor, account: Account, tmp_path: Path) -> None:
    account.calls(YESTERDAY + 3 * HOUR, "chat", "gpt-4o", 1_000, 200)
    with polled(tmp_path, fake) as rig:
        rig.poll()
        for fault, (answers, reason) in FAULTS.items():
            if fault == "data is null":
                continue  # tables above
            rig.pauses.clear()
            fake.faults.extend(answers)
            said = rig.poll()
            if reason is None:
                assert "failed" not in said, fault
                assert rig.pauses, fault
            else:
                assert said.startswith(f"failed: {reason}"), fault
                rig.ledger.clock.advance(minutes=70 if reason == "throttled" else 1)
                assert not fake.faults, fault
                assert "failed" not in rig.poll(), fault
            totals(rig, fake)
            assert fake.key not in said, fault


def test_a_slow_answer_ends_in_time(fake: AzureMonitor, account: Account, tmp_path: Path) -> None:
    account.calls(YESTERDAY, "chat", "gpt-4o", 1_000, 200)
    gate = threading.Event()
    patient = settings(fake, timeout_seconds=0.2, options=of(fake).options)
    with running(tmp_path, "azure_openai", patient) as rig:
        fake.faults.extend([None, *[Fault(gate=gate)] * 4])
        assert rig.poll().startswith("failed: timeout")
        gate.set()
        rig.poll()
        totals(rig, fake)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"subscriptions": ""}, "names no subscription"),
        ({"subscriptions": "a/b"}, "which is no id"),
        ({"metrics": "new"}, "none of openai, models"),
        ({"metrics": "models", "tiers": "true"}, "tiers=true needs metrics=openai"),
        ({"resources": "x"}, "no option 'resources'"),
    ],
)
def test_wrong_options(fake: AzureMonitor, options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make("azure_openai", of(fake, **options))
