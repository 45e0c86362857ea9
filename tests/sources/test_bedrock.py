"""Bedrock's meters in CloudWatch, as moto keeps them: each hour's whole numbers, once."""

from __future__ import annotations

import random
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from costmeter.attribution import Scope, scope_of
from costmeter.model import Labels
from costmeter.pricing import load_price_book
from costmeter.sources.allowance import Allowance
from costmeter.sources.bedrock_metrics import Family, hours_of, listed, whole_number
from costmeter.sources.bedrock_profiles import model_name
from costmeter.sources.contract import Desk, OwnerRule, Page, SourceError
from costmeter.sources.registry import make
from fakes.aws import Door, opened
from fakes.clock import FakeClock
from fakes.reports import Fault
from sources.rig import DAY, HOUR, TODAY, pages, running, settings

YESTERDAY = TODAY - DAY
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-lite-v1:0"


class Cloud:
    """moto behind a door that fails when told; each test has its own."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.put: list[tuple[str, str, int, int]] = []
        self._clients: dict[str, Any] = {}

    def client(self, region: str) -> Any:
        if region not in self._clients:
            access, secret = self.door.key.split(":")
            self._clients[region] = boto3.client(
                "cloudwatch", region_name=region, aws_access_key_id=access,
                aws_secret_access_key=secret, config=Config(proxies={}),
                endpoint_url=f"http://{self.door.behind.netloc}",
            )  # fmt: skip
        return self._clients[region]

    def add(
        self, model: str, at: int, region: str = "us-east-1", extra: Any = (), **counts: float
    ) -> None:
        dimensions = [{"Name": "ModelId", "Value": model}, *extra] if model else list(extra)
        self.client(region).put_metric_data(
            Namespace="AWS/Bedrock",
            MetricData=[
                {
                    "MetricName": name, "Dimensions": dimensions, "Value": value, "Unit": "Count",
                    "Timestamp": datetime.fromtimestamp(at, UTC),
                }
                for name, value in counts.items()
            ],
        )  # fmt: skip
        if not extra and model:
            self.put += [(model, name, at, int(value)) for name, value in counts.items()]

    def add_all(self, at: int, data: list[tuple[str, str, int]]) -> None:
        self.client("us-east-1").put_metric_data(
            Namespace="AWS/Bedrock",
            MetricData=[
                {
                    "MetricName": name, "Dimensions": [{"Name": "ModelId", "Value": model}],
                    "Value": value, "Timestamp": datetime.fromtimestamp(at, UTC),
                }
                for model, name, value in data
            ],
        )  # fmt: skip

    def total(self, *names: str) -> int:
        return sum(value for _, name, _, value in self.put if name in names)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def cloud(moto: str) -> Iterator[Cloud]:
    door = Door(moto)
    with opened(door):
        urllib.request.urlopen(
            urllib.request.Request(f"{moto}/moto-api/reset", method="POST"), timeout=20
        ).close()
        yield Cloud(door)


def of(cloud: Cloud, tmp_path: Path, options: Any = None, **changes: Any) -> Any:
    chosen = settings(cloud.door, options=options or {}, **changes.pop("chosen", {}))  # type: ignore[arg-type]
    return running(tmp_path, "bedrock", chosen, **changes)


def read(cloud: Cloud, options: Any = None, **changes: Any) -> list[Page]:
    chosen = settings(cloud.door, options=options or {}, **changes)  # type: ignore[arg-type]
    return pages(make("bedrock", chosen), YESTERDAY, TODAY + DAY)


def usages(cloud: Cloud, options: Any = None, **changes: Any) -> list[Any]:
    return [usage for page in read(cloud, options, **changes) for usage in page.usages]


def test_hours_of_models(cloud: Cloud) -> None:
    at = YESTERDAY + 3 * HOUR
    cloud.add(
        CLAUDE, at + 60, Invocations=2, InputTokenCount=1_000, OutputTokenCount=90,
        CacheReadInputTokens=400, CacheWriteInputTokens=70,
    )  # fmt: skip
    cloud.add(CLAUDE, at + 120, Invocations=1, InputTokenCount=234, OutputTokenCount=10)
    cloud.add(NOVA, TODAY + 9 * HOUR, Invocations=1, InputTokenCount=5)
    cloud.add(NOVA, TODAY + 10 * HOUR, Invocations=1, InputTokenCount=7)  # the hour is open
    first, second = usages(cloud, account="prod")
    nova, claude = (first, second) if first.labels.model == NOVA else (second, first)
    assert dict(claude.quantities) == {
        "input": 1_234, "output": 100, "cache_read": 400, "cache_write_5m": 70, "requests": 3,
    }  # fmt: skip
    assert (claude.at_ms, claude.detail) == (at * 1000, '{"aggregate": true}')
    labels = claude.labels
    assert (labels.provider, labels.service, labels.model) == ("aws", "Amazon Bedrock", CLAUDE)
    assert (labels.region, labels.account, labels.tenant_id) == ("us-east-1", "prod", "default")
    assert dict(nova.quantities) == {"input": 5, "requests": 1}


def test_only_series_by_model_alone_count(cloud: Cloud) -> None:
    cloud.add(NOVA, YESTERDAY, InputTokenCount=10)
    tier = [{"Name": "ServiceTier", "Value": "priority"}]
    cloud.add(NOVA, YESTERDAY, extra=tier, InputTokenCount=10)
    cloud.add("", YESTERDAY, extra=tier, InputTokenCount=10)
    cloud.add(NOVA, YESTERDAY, InvocationLatency=1.5)
    (usage,) = usages(cloud)
    assert dict(usage.quantities) == {"input": 10}


def test_newer_endpoints_are_counted_once_of_their_four_sums(cloud: Cloud) -> None:
    model, project = ({"Name": name, "Value": name.lower()} for name in ("Model", "Project"))
    for dimensions in ([], [model], [project], [model, project]):
        cloud.client("us-east-1").put_metric_data(
            Namespace="AWS/BedrockMantle",
            MetricData=[
                {
                    "MetricName": name, "Value": value, "Dimensions": dimensions,
                    "Timestamp": datetime.fromtimestamp(YESTERDAY, UTC),
                }
                for name, value in (
                    ("TotalInputTokens", 100), ("TotalOutputTokens", 7), ("Inferences", 2),
                )
            ],
        )  # fmt: skip
    (usage,) = usages(cloud)
    assert dict(usage.quantities) == {"input": 100, "output": 7, "requests": 2}
    assert (usage.labels.model, usage.labels.project) == ("model", "project")


def test_two_names_of_one_figure_are_not_added_up(cloud: Cloud) -> None:
    cloud.add(NOVA, YESTERDAY, CacheReadInputTokens=9, CacheReadInputTokenCount=9)
    cloud.add(NOVA, YESTERDAY + HOUR, CacheWriteInputTokenCount=4)
    one, other = usages(cloud)
    assert (dict(one.quantities), dict(other.quantities)) == (
        {"cache_read": 9}, {"cache_write_5m": 4},
    )  # fmt: skip


def test_what_counts_only_calls_or_images_has_no_known_price(cloud: Cloud) -> None:
    cloud.add("amazon.nova-canvas-v1:0", YESTERDAY, Invocations=2, OutputImageCount=3)
    cloud.add("luma.ray-v2:0", YESTERDAY, Invocations=4)
    found = {usage.labels.model: dict(usage.quantities) for usage in usages(cloud)}
    assert found == {
        "amazon.nova-canvas-v1:0": {"unmetered_calls": 3, "requests": 2},
        "luma.ray-v2:0": {"unmetered_calls": 4, "requests": 4},
    }


def test_regions_are_asked_one_by_one(cloud: Cloud) -> None:
    cloud.add(NOVA, YESTERDAY, InputTokenCount=1)
    cloud.add(NOVA, YESTERDAY, "eu-central-1", InputTokenCount=2)
    found = usages(cloud, {"regions": "us-east-1+eu-central-1+us-east-1"})
    assert sorted((one.labels.region, one.quantities["input"]) for one in found) == [
        ("eu-central-1", 2), ("us-east-1", 1),
    ]  # fmt: skip
    assert len({one.event_id for one in found}) == 2


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        (NOVA, NOVA), (CLAUDE, CLAUDE),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}", NOVA),
        (f"arn:aws:bedrock:us-east-1:111122223333:inference-profile/{CLAUDE}", CLAUDE),
        ("arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/a1b2c3d4e5f6",
         "a1b2c3d4e5f6"),
    ],
)  # fmt: skip
def test_ids_of_models(model_id: str, name: str) -> None:
    assert model_name(model_id) == name


@pytest.mark.parametrize("model", [NOVA, CLAUDE, CLAUDE.removeprefix("us.")])
def test_ids_of_models_have_prices(cloud: Cloud, model: str) -> None:
    cloud.add(model, YESTERDAY, InputTokenCount=10, OutputTokenCount=1)
    (usage,) = usages(cloud)
    (priced,) = load_price_book().price_batch([usage])
    assert priced is not None
    assert priced[1] > 0


PROFILE = "a1b2c3d4e5f6"
ARN = f"arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/{PROFILE}"


def with_profile(cloud: Cloud) -> None:
    model = {"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"}
    about = {
        "inferenceProfileName": "search-team", "inferenceProfileArn": ARN, "models": [model],
        "inferenceProfileId": PROFILE, "status": "ACTIVE", "type": "APPLICATION",
    }  # fmt: skip
    cloud.door.answers["/inference-profiles"] = {"inferenceProfileSummaries": [about]}
    tags = [{"key": "tenant", "value": "acme"}, {"key": "squad", "value": "search"}]
    cloud.door.answers["/listTagsForResource"] = {"tags": tags}


@pytest.mark.parametrize("model_id", [PROFILE, ARN])
def test_application_profiles_are_their_model_their_name_and_their_tags(
    cloud: Cloud, model_id: str
) -> None:
    with_profile(cloud)
    cloud.add(model_id, YESTERDAY, InputTokenCount=10)
    cloud.add(NOVA, YESTERDAY, InputTokenCount=1)
    found = usages(cloud, {"tenant_tag": "tenant", "team_tag": "squad"})
    assert sorted(
        (u.labels.model, u.labels.project, u.labels.tenant_id, u.labels.team, u.quantities["input"])
        for u in found
    ) == [(NOVA, "", "default", "", 1), (NOVA, "search-team", "acme", "search", 10)]
    owners = (OwnerRule(project="search-*", tenant_id="by-rule"),)
    assert {one.labels.tenant_id for one in usages(cloud, owners=owners)} == {"default", "by-rule"}
    assert {one.labels.model for one in usages(cloud, {"profiles": "false"})} == {NOVA, PROFILE}


def test_profiles_are_asked_for_once_a_day(cloud: Cloud, tmp_path: Path) -> None:
    with_profile(cloud)
    cloud.add(PROFILE, YESTERDAY, InputTokenCount=10)
    with of(cloud, tmp_path) as rig:
        for hours in (0, 1, 13):
            rig.ledger.clock.advance(hours=hours)
            assert "failed" not in rig.poll()
    assert sum("inference-profiles" in path for path in cloud.door.asked) == 2


def test_usage_and_bill_meet_in_the_scope_of_the_documentation(cloud: Cloud) -> None:
    cloud.add(NOVA, YESTERDAY, InputTokenCount=1)
    (usage,) = usages(cloud)
    scopes = [
        Scope("aws/bedrock", provider="aws*", service="*Bedrock*", amount_from="aws-costs"),
        Scope("aws/rest", provider="aws", detail_from="none", amount_from="aws-costs"),
        Scope("default"),
    ]
    assert scope_of(scopes, usage.labels).name == "aws/bedrock"
    for service in ("Amazon Bedrock", "Claude Sonnet 4.5 (Amazon Bedrock Edition)"):
        line: Labels = usage.labels._replace(service=service)
        assert scope_of(scopes, line).name == "aws/bedrock"


@pytest.mark.parametrize("books", [True, False])
def test_the_same_again_and_restated(cloud: Cloud, tmp_path: Path, books: bool) -> None:
    for hour in range(24):
        cloud.add(CLAUDE, YESTERDAY + hour * HOUR, InputTokenCount=100 + hour, Invocations=1)
        cloud.add(NOVA, YESTERDAY + hour * HOUR, OutputTokenCount=7 * hour)
    with of(cloud, tmp_path, books=books) as rig:
        assert rig.poll() == "47 new"  # an hour of nothing is nothing
        assert rig.booked("input") == (cloud.total("InputTokenCount") if books else 0)
        assert rig.poll() == "47 same"
        cloud.add(CLAUDE, YESTERDAY + 600, InputTokenCount=50)
        assert rig.poll() == "46 same, 1 restated"
        assert rig.booked("input") == (cloud.total("InputTokenCount") if books else 0)
        assert rig.booked("output") == (cloud.total("OutputTokenCount") if books else 0)


def test_restated_down(cloud: Cloud, tmp_path: Path) -> None:
    cloud.add(CLAUDE, YESTERDAY, InputTokenCount=100)
    with of(cloud, tmp_path) as rig:
        rig.poll()
        cloud.add(CLAUDE, YESTERDAY, InputTokenCount=-30)
        assert rig.poll() == "1 restated"
        assert rig.booked("input") == 70


def test_a_model_that_is_not_listed_any_more_keeps_what_it_used(
    cloud: Cloud, tmp_path: Path, moto: str
) -> None:
    """CloudWatch forgets names after two weeks without data, and so does moto when reset."""
    cloud.add(CLAUDE, YESTERDAY, InputTokenCount=100)
    with of(cloud, tmp_path) as rig:
        rig.poll()
        reset = urllib.request.Request(f"{moto}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset, timeout=20).close()
        assert rig.poll() == "nothing there"
        cloud.add(NOVA, YESTERDAY, InputTokenCount=1)
        assert rig.poll() == "1 new"
        assert rig.booked("input") == 101


def test_more_series_than_one_request_may_ask_for(cloud: Cloud) -> None:
    chance = random.Random(3)
    names = ("InputTokenCount", "OutputTokenCount", "CacheReadInputTokens", "Invocations")
    at, wanted = YESTERDAY + 5 * HOUR, dict.fromkeys(names, 0)
    for some in range(0, 128, 16):
        data = []
        for number in range(some, some + 16):
            for name in names:
                value = chance.randrange(1, 10**9)
                wanted[name] += value
                data.append((f"vendor.model-{number}", name, value))
        cloud.add_all(at, data)
    found = usages(cloud)
    for name, kind in zip(names, ("input", "output", "cache_read", "requests"), strict=True):
        assert sum(usage.quantities[kind] for usage in found) == wanted[name]
    # 512 series are two pages of the list, and CloudWatch takes 500 at once; the newer
    # endpoints have a list of their own.
    assert len(cloud.door.asked) == 5


def test_polling_has_a_price(cloud: Cloud, tmp_path: Path) -> None:
    cloud.add(CLAUDE, YESTERDAY, InputTokenCount=10, OutputTokenCount=1, Invocations=1)
    with of(cloud, tmp_path) as rig:
        assert "failed" not in rig.poll()
        # Three steps of a week, each two lists and three series at 0.01 USD for 1,000.
        cost = rig.tally("costmeter_source_api_cost_usd_total")["bill",]
        assert cost == pytest.approx(3 * 5 * 0.00001)


#: (the answers that go wrong, the reason of the poll that they fail or None).
FAULTS: dict[str, tuple[list[Fault], str | None]] = {
    "one 500": ([Fault(500)], None),
    "503 for long": ([Fault(503)] * 4, "server"),
    "429 in seconds": ([Fault(429, {"Retry-After": "2"})], None),
    "429 as a date": ([Fault(429, {"Retry-After": "Sun, 22 Nov 2026 10:30:05 GMT"})], None),
    "429 in ms": ([Fault(429, {"retry-after-ms": "1500"})], None),
    "429 for an hour": ([Fault(429, {"Retry-After": "3600"})], "throttled"),
    "403": ([Fault(403)], "credentials"),
    "400": ([Fault(400)], "request"),
    "a redirect": ([Fault(302, {"Location": "http://127.0.0.1:1/"})], "request"),
    "truncated": ([Fault(change=lambda body: body[:20])] * 4, "malformed"),
    "a body cut off": ([Fault(cut=10)] * 4, "malformed"),
    "no answer of AWS": ([Fault(body=b"<html>busy</html>")] * 4, "malformed"),
    "an empty body": ([Fault(body=b"")] * 4, "malformed"),
}


@pytest.mark.slow
def test_faults(cloud: Cloud, tmp_path: Path) -> None:
    cloud.add(CLAUDE, YESTERDAY, InputTokenCount=1_000)
    with of(cloud, tmp_path) as rig:
        for number, (fault, (answers, reason)) in enumerate(FAULTS.items()):
            rig.pauses.clear()
            # In turn the list of metrics fails, and the figures.
            cloud.door.faults.extend([None] * (number % 2))
            cloud.door.faults.extend(answers)
            said = rig.poll()
            if reason is None:
                assert "failed" not in said, (fault, said)
                assert rig.pauses, fault
            else:
                assert said.startswith(f"failed: {reason}"), (fault, said)
                rig.ledger.clock.advance(minutes=70 if reason == "throttled" else 1)
                cloud.door.faults.clear()
                assert "failed" not in rig.poll(), fault
            assert rig.booked("input") == 1_000, fault
            assert cloud.door.key.split(":")[1] not in said


def test_a_slow_answer_ends_in_time(cloud: Cloud, tmp_path: Path) -> None:
    cloud.add(CLAUDE, YESTERDAY, InputTokenCount=1_000)
    gate = threading.Event()
    with of(cloud, tmp_path, chosen={"timeout_seconds": 0.5}) as rig:
        cloud.door.faults.extend([Fault(gate=gate)] * 4)
        assert rig.poll().startswith("failed: timeout: cloudwatch: ")
        gate.set()


@pytest.mark.parametrize("value", [1.5, -1.0, float("nan"), float("inf"), 2.0**54, "1", True, None])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(SourceError, match="Values: expected a"):
        whole_number(value)


def test_a_fraction_fails_the_poll(cloud: Cloud, tmp_path: Path) -> None:
    cloud.add(CLAUDE, YESTERDAY, InputTokenCount=1.5)
    with of(cloud, tmp_path) as rig:
        assert rig.poll() == "failed: malformed: Values: expected a whole number, 0 or more"


class Answers:
    """What AWS says to one question after the other."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.left = list(answers)
        self.asked: list[Any] = []

    def call(self, desk: Desk, what: Any, arguments: Any) -> Any:
        self.asked.append(arguments.get("NextToken"))
        return self.left.pop(0)


FAMILY = Family("AWS/Bedrock", ("ModelId",), frozenset({"InputTokenCount"}))
DESK = Desk(FakeClock(), Allowance(), lambda _: False)


def data(
    *hours: tuple[int, float], status: str = "Complete", more: str = "", name: str = "m0"
) -> dict[str, Any]:
    row = {
        "Id": name, "StatusCode": status, "Values": [value for _, value in hours],
        "Timestamps": [datetime.fromtimestamp(YESTERDAY + at, UTC) for at, _ in hours],
    }  # fmt: skip
    return {"MetricDataResults": [row], **({"NextToken": more} if more else {})}


def hours(*answers: dict[str, Any]) -> Any:
    meters = {(NOVA,): FAMILY.metrics}
    since_ms = YESTERDAY * 1000
    return hours_of(
        Answers(*answers), DESK, "us-east-1", FAMILY, meters, since_ms, since_ms + DAY * 1000
    )  # type: ignore[arg-type]


def test_a_series_goes_on_in_the_next_page() -> None:
    found = hours(
        data((0, 1.0), status="PartialData", more="t1"), data((HOUR, 2.0), more="t2"),
        {"MetricDataResults": []},
    )  # fmt: skip
    assert found == {
        ((NOVA,), "InputTokenCount"): {YESTERDAY * 1000: 1, (YESTERDAY + HOUR) * 1000: 2}
    }
    assert hours({"MetricDataResults": [{"Id": "m0", "StatusCode": "Complete"}]}) == {
        ((NOVA,), "InputTokenCount"): {}
    }


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([data((0, 1.0), status="PartialData")], "a part of the data"),
        ([{"MetricDataResults": []}], "a part of the data"),
        ([data(status="InternalError")], "an internal error"),
        ([data(status="Forbidden")], "forbids cloudwatch:GetMetricData"),
        ([data((0, 1.0), more="t"), data((0, 1.0))], "an hour came twice"),
        ([data((0, 1.0), more="t"), data(more="t")], "names one as the next that was read"),
        ([data((60, 1.0))], "no hour that was asked for"),
        ([data((-HOUR, 1.0))], "no hour that was asked for"),
        ([data((DAY, 1.0))], "no hour that was asked for"),
        ([data((0, 1.0), name="m7")], "Id: is none that was asked for"),
        ([data((0, 1.0), name="x")], "Id: is none that was asked for"),
        ([{"MetricDataResults": [{"Id": "m0", "Values": [1.0]}]}], "not as many"),
        ([{"MetricDataResults": [{"Id": "m0", "Values": [1.0], "Timestamps": ["x"]}]}],
         "expected an instant"),
    ],
)  # fmt: skip
def test_figures_that_cannot_be(answers: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        hours(*answers)


def test_a_list_that_goes_in_a_circle() -> None:
    answer = {"Metrics": [], "NextToken": "t"}
    with pytest.raises(SourceError, match="names one as the next that was read"):
        listed(Answers(answer, answer), DESK, "us-east-1", FAMILY)  # type: ignore[arg-type]


def test_secrets_are_in_no_log(
    cloud: Cloud, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    cloud.add(CLAUDE, YESTERDAY, InputTokenCount=10)
    caplog.clear()
    with of(cloud, tmp_path, {"role_arn": "arn:aws:iam::123456789012:role/costmeter"}) as rig:
        assert "failed" not in rig.poll()
        _, keys, _ = vars(vars(rig.source)["_aws"])["_assumed"]
    for secret in (*keys, cloud.door.key.split(":")[1]):
        assert secret not in caplog.text


def test_a_role_is_assumed_and_renewed(cloud: Cloud, tmp_path: Path) -> None:
    cloud.add(CLAUDE, YESTERDAY, InputTokenCount=10)
    role = {"role_arn": "arn:aws:iam::123456789012:role/costmeter", "external_id": "meter-1"}
    with of(cloud, tmp_path, role) as rig:
        assert "failed" not in rig.poll()
        asked = len(cloud.door.asked)
        assert "failed" not in rig.poll()
        assert len(cloud.door.asked) == asked + 3  # the role is still good
        cloud.door.faults.append(Fault(403))
        assert rig.poll().startswith("failed: credentials")
        asked = len(cloud.door.asked)
        rig.ledger.clock.advance(hours=30)
        assert "failed" not in rig.poll()
        assert len(cloud.door.asked) > asked + 3
        assert "hidden" in repr(vars(vars(rig.source)["_aws"])["_assumed"])
