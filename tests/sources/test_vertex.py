"""Vertex AI through the real client of Cloud Monitoring, against a server of its protos."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from costmeter.model import Usage
from costmeter.sources.allowance import Allowance
from costmeter.sources.contract import OwnerRule, Settings, SourceError
from costmeter.sources.registry import make
from costmeter.sources.secret import Secret
from costmeter.sources.vertex import CALLS, TOKENS, token_class
from fakes.gcp_monitoring import Fault, GcpMonitoring, serving
from sources.rig import DAY, HOUR, TODAY, Rig, pages, running

YESTERDAY = TODAY - DAY
MODEL = "aiplatform.googleapis.com/PublisherModel"
OPTIONS = {"project": "acme-prod"}


def settings(fake: GcpMonitoring, **changes: Any) -> Settings:
    chosen: dict[str, Any] = {"options": OPTIONS, "timeout_seconds": 5, **changes}
    return Settings("vertex", Secret(), base_url=fake.url, **chosen)


def resource(model: str = "gemini-2.5-pro", **changes: str) -> dict[str, str]:
    return {
        "resource_container": "123456789", "location": "us-central1", "publisher": "google",
        "model_user_id": model, "model_version_id": "", **changes,
    }  # fmt: skip


def tokens(
    fake: GcpMonitoring, kind: str, *samples: tuple[int, float], model: str = "gemini-2.5-pro",
    **labels: str,
) -> None:  # fmt: skip
    said = {"type": kind, "request_type": "shared", **labels}
    fake.add(TOKENS.metric, MODEL, resource(model), said, *samples)


def calls(fake: GcpMonitoring, code: str, *samples: tuple[int, float], **labels: str) -> None:
    said = {"response_code": code, "request_type": "shared", **labels}
    fake.add(CALLS.metric, MODEL, resource(), said, *samples)


@pytest.fixture
def fake() -> Iterator[GcpMonitoring]:
    with serving(GcpMonitoring()) as found:
        yield found


def read(fake: GcpMonitoring, since: int = YESTERDAY, **changes: Any) -> list[Usage]:
    found = pages(make("vertex", settings(fake, **changes)), since, TODAY + DAY)
    return [usage for page in found for usage in page.usages]


def test_hours_by_model_with_tokens_and_calls(fake: GcpMonitoring) -> None:
    # Minutes of two hours; a sample at the full hour belongs to the hour that ends there.
    at = YESTERDAY + 3 * HOUR
    tokens(fake, "input", (at + 60, 100), (at + 120, 50), (at + HOUR, 7), (at + HOUR + 60, 1_000))
    tokens(fake, "input", (at + 60, 11), max_token_size="<=1k")
    tokens(fake, "output", (at + 60, 30))
    calls(fake, "200", (at + 60, 4), (at + HOUR + 60, 2))
    calls(fake, "429", (at + 60, 99))
    first, second = read(fake)
    assert (first.at_ms, second.at_ms) == (at * 1000, (at + HOUR) * 1000)
    assert dict(first.quantities) == {"input": 168, "output": 30, "requests": 4}
    assert dict(second.quantities) == {"input": 1_000, "requests": 2}
    labels = first.labels
    assert (labels.provider, labels.model, labels.region) == (
        "google", "gemini-2.5-pro", "us-central1",
    )  # fmt: skip
    assert (labels.project, labels.service, labels.category) == (
        "acme-prod", "Vertex AI", "llm_api",
    )  # fmt: skip
    assert {request.name for request in fake.asked} == {"projects/acme-prod"}
    assert {request.aggregation.per_series_aligner.name for request in fake.asked} == {
        "ALIGN_DELTA"
    }


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"type": "input"}, "input"),
        ({"type": "output"}, "output"),
        ({"type": "input", "modality": "TEXT"}, "input"),
        ({"type": "input", "modality": "AUDIO"}, "input_audio"),
        ({"type": "output", "modality": "image"}, "output_image"),
        ({"type": "cached_input"}, "cache_read"),
        ({"type": "cache_read_input", "modality": "audio"}, "cache_read_audio"),
        ({"type": "cache_write_input"}, "cache_write_5m"),
        ({"type": "CACHE-CREATION-1H"}, "cache_write_1h"),
        ({"type": "thoughts"}, "reasoning"),
    ],
)
def test_types_of_tokens(labels: dict[str, str], expected: str) -> None:
    assert token_class(labels) == expected


def test_a_type_that_is_not_known_is_no_zero() -> None:
    with pytest.raises(SourceError, match="type: 'widgets' is no type"):
        token_class({"type": "widgets"})


def test_provisioned_throughput_is_paid_otherwise(fake: GcpMonitoring) -> None:
    at = YESTERDAY + HOUR + 60
    tokens(fake, "input", (at, 5))
    tokens(fake, "input", (at, 7), request_type="dedicated")
    tokens(fake, "input", (at, 9), source="batch_us-central1")
    tokens(fake, "input", (at, 3), shared_request_type="flex")
    calls(fake, "200", (at, 8))
    found = read(fake)
    assert sorted((u.processing, u.quantities["input"]) for u in found) == [
        ("batch", 9), ("flex", 3), ("standard", 5),
    ]  # fmt: skip
    # Calls do not say how they were served, and are in one of the groups.
    assert sum(u.quantities.get("requests", 0) for u in found) == 8
    whole = read(fake, options={**OPTIONS, "provisioned": "true"})
    assert sum(u.quantities["input"] for u in whole) == 24


def test_several_projects_and_one_that_watches_the_other(fake: GcpMonitoring) -> None:
    tokens(fake, "input", (YESTERDAY + 60, 5))
    # The server shows the same series under each project, as a scoping project does.
    (one,) = read(fake, options={"project": "acme-prod+acme-watch"})
    assert one.quantities["input"] == 5
    assert len(fake.asked) == 4


def test_owners_by_project(fake: GcpMonitoring) -> None:
    tokens(fake, "input", (YESTERDAY + 60, 5))
    rules = (OwnerRule(project="acme-*", tenant_id="acme", team="search"),)
    (one,) = read(fake, owners=rules, account="billing-1")
    assert (one.labels.tenant_id, one.labels.team, one.labels.account) == (
        "acme", "search", "billing-1",
    )  # fmt: skip


def test_pages_and_a_project_without_any(fake: GcpMonitoring) -> None:
    assert read(fake) == []
    fake.page_size = 7
    for n in range(5):
        tokens(fake, "input", *((YESTERDAY + h * HOUR + 60, n + 1) for h in range(10)),
               model=f"m{n}")  # fmt: skip
    found = read(fake)
    assert len(found) == 50
    assert sum(u.quantities["input"] for u in found) == 150


def test_the_hour_that_lasts_is_left_for_later(fake: GcpMonitoring) -> None:
    # It is 10:30.
    tokens(fake, "input", (TODAY + 9 * HOUR + 60, 1), (TODAY + 10 * HOUR + 60, 2))
    (one,) = read(fake)
    assert one.quantities["input"] == 1


CODE = grpc.StatusCode


def twice(answer: Any) -> Any:
    answer.time_series.append(answer.time_series[0])
    return answer


def next_is_same(answer: Any) -> Any:
    answer.ClearField("time_series")
    answer.next_page_token = "0"
    return answer


def odd_hour(answer: Any) -> Any:
    answer.time_series[0].points[0].interval.end_time.seconds += 61
    return answer


def outside(answer: Any) -> Any:
    answer.time_series[0].points[0].interval.end_time.seconds -= 40 * DAY
    return answer


def wordy(answer: Any) -> Any:
    answer.time_series[0].points[0].value.string_value = "many"
    return answer


def less_than_nothing(answer: Any) -> Any:
    answer.time_series[0].points[0].value.int64_value = -1
    return answer


#: (answers that go wrong, the reason of the poll that they fail or None, pauses in seconds).
FAULTS: dict[str, tuple[list[Fault], str | None]] = {
    "unavailable once": ([Fault(CODE.UNAVAILABLE)], None),
    "unavailable for long": ([Fault(CODE.UNAVAILABLE)] * 4, "server"),
    "internal": ([Fault(CODE.INTERNAL)] * 4, "server"),
    "unknown": ([Fault(CODE.UNKNOWN)], None),
    "unknown for long": ([Fault(CODE.UNKNOWN)] * 4, "server"),
    "aborted": ([Fault(CODE.ABORTED)], None),
    "exhausted": ([Fault(CODE.RESOURCE_EXHAUSTED)], None),
    "exhausted, RetryInfo": ([Fault(CODE.RESOURCE_EXHAUSTED, retry_seconds=2.5)], None),
    "exhausted, Retry-After": (
        [Fault(CODE.RESOURCE_EXHAUSTED, trailers={"retry-after": "3"})],
        None,
    ),
    "exhausted, a date": (
        [Fault(CODE.RESOURCE_EXHAUSTED, trailers={"retry-after": "Sun, 22 Nov 2026 10:30:05 GMT"})],
        None,
    ),
    "exhausted, pushback": (
        [Fault(CODE.RESOURCE_EXHAUSTED, trailers={"grpc-retry-pushback-ms": "1500"})],
        None,
    ),
    "exhausted for an hour": (
        [Fault(CODE.RESOURCE_EXHAUSTED, retry_seconds=3_600)],
        "throttled",
    ),
    "denied": ([Fault(CODE.PERMISSION_DENIED, "Permission denied")], "credentials"),
    "nobody": ([Fault(CODE.UNAUTHENTICATED, "who is there")], "credentials"),
    "a bad filter": ([Fault(CODE.INVALID_ARGUMENT, "no such label")], "request"),
    "no such project": ([Fault(CODE.NOT_FOUND, "no project")], "request"),
    "the server's own time": ([Fault(CODE.DEADLINE_EXCEEDED)] * 4, "timeout"),
    "no protobuf": ([Fault(raw=b"\x0a\xff\xff")] * 4, "malformed"),
    "a series twice": ([Fault(change=twice)], "repeated_page"),
    "pages in a circle": ([Fault(change=next_is_same)] * 2, "repeated_page"),
    "no full hour": ([Fault(change=odd_hour)], "malformed"),
    "another time": ([Fault(change=outside)], "malformed"),
    "a word": ([Fault(change=wordy)], "malformed"),
    "a negative count": ([Fault(change=less_than_nothing)], "malformed"),
}


def test_faults(tmp_path: Path, fake: GcpMonitoring) -> None:
    tokens(fake, "input", (YESTERDAY + 60, 1_000))
    errors: dict[tuple[str, ...], float] = {}
    with running(tmp_path, "vertex", settings(fake)) as rig:
        for fault, (answers, reason) in FAULTS.items():
            rig.pauses.clear()
            fake.faults.extend(answers)
            said = rig.poll()
            if reason is None:
                assert "failed" not in said, fault
                assert rig.pauses, fault
                assert all(pause <= 60 for pause in rig.pauses), fault
            else:
                assert said.startswith(f"failed: {reason}"), (fault, said)
                errors["vertex", reason] = errors.get(("vertex", reason), 0) + 1
                rig.ledger.clock.advance(minutes=70 if reason == "throttled" else 1)
                assert rig.poller.due(), fault
                assert not fake.faults, fault
                assert "failed" not in rig.poll(), fault
            assert rig.tally("costmeter_source_errors_total") == errors, fault
            assert rig.booked("input") == 1_000, fault


@pytest.mark.parametrize(
    ("fault", "pause"),
    [
        (Fault(CODE.RESOURCE_EXHAUSTED), 1.0),
        (Fault(CODE.RESOURCE_EXHAUSTED, retry_seconds=2.5), 2.5),
        (Fault(CODE.RESOURCE_EXHAUSTED, trailers={"retry-after": "3"}), 3.0),
        (Fault(CODE.UNAVAILABLE, trailers={"grpc-retry-pushback-ms": "1500"}), 1.5),
    ],
)
def test_it_waits_as_long_as_it_was_told(
    tmp_path: Path, fake: GcpMonitoring, fault: Fault, pause: float
) -> None:
    fake.faults.append(fault)
    with running(tmp_path, "vertex", settings(fake)) as rig:
        rig.poll()
        assert rig.pauses == [pause]


def test_a_slow_answer_ends_in_time(tmp_path: Path, fake: GcpMonitoring) -> None:
    tokens(fake, "input", (YESTERDAY + 60, 1_000))
    gate = threading.Event()
    fake.faults.extend([Fault(gate=gate)] * 4)
    with running(tmp_path, "vertex", settings(fake, timeout_seconds=0.2)) as rig:
        assert rig.poll().startswith("failed: timeout: Cloud Monitoring took too long")
        gate.set()
        assert "failed" not in rig.poll()
        assert rig.booked("input") == 1_000


def test_nobody_there(tmp_path: Path) -> None:
    fake = GcpMonitoring()
    fake.port = 1
    with running(tmp_path, "vertex", settings(fake)) as rig:
        assert rig.poll().startswith("failed: network: Cloud Monitoring cannot be reached")


def recount(fake: GcpMonitoring) -> dict[str, int]:
    """Tokens by class, from the server's samples alone."""
    out: dict[str, int] = {}
    for one in fake.series:
        if one.metric == TOKENS.metric:
            name = one.labels["type"]
            out[name] = out.get(name, 0) + int(sum(value for _, value in one.samples))
    return out


def booked(rig: Rig) -> dict[str, int]:
    return {name: rig.booked(name) for name in ("input", "output") if rig.booked(name)}


def test_the_same_twice_and_restated_up_and_down(tmp_path: Path, fake: GcpMonitoring) -> None:
    tokens(fake, "input", *((YESTERDAY + h * HOUR + 60, 1_000 + h) for h in range(24)))
    tokens(fake, "output", *((YESTERDAY + h * HOUR + 60, 300 - h) for h in range(24)))
    calls(fake, "200", *((YESTERDAY + h * HOUR + 60, 3) for h in range(24)))
    with running(tmp_path, "vertex", settings(fake)) as rig:
        assert rig.poll().startswith("24 new")
        first = rig.cost()
        assert booked(rig) == recount(fake)
        assert rig.poll() == "24 same"
        assert rig.cost() == first
        fake.series[0].samples[3] = (YESTERDAY + 3 * HOUR + 60, 9_003)
        fake.series[1].samples[5] = (YESTERDAY + 5 * HOUR + 60, 5)
        rig.poll()
        assert booked(rig) == recount(fake)
        del fake.series[0].samples[10:]
        rig.poll()
        assert booked(rig) == recount(fake)
    with running(tmp_path, "vertex", settings(fake)) as rig:
        assert "new" not in rig.poll()
        assert booked(rig) == recount(fake)


def test_calls_are_counted_and_limited(tmp_path: Path, fake: GcpMonitoring) -> None:
    tokens(fake, "input", *((YESTERDAY + h * HOUR + 60, 1) for h in range(10)))
    fake.page_size = 2
    allowance = Allowance(calls_a_day=3)
    with running(tmp_path, "vertex", settings(fake), allowance=allowance) as rig:
        assert rig.poll().startswith("failed: budget: all 3 calls of today are made")
        assert len(fake.asked) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "option project is missing; write one like project=acme-prod"),
        ({"project": "Acme Prod"}, "option project=Acme Prod is no id of a project"),
        ({**OPTIONS, "projects": "x"}, "has no option 'projects'"),
        ({**OPTIONS, "provisioned": "no"}, "neither true nor false"),
    ],
)
def test_mistakes(fake: GcpMonitoring, options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=f"source 'vertex': .*{said}"):
        make("vertex", settings(fake, options=options))


def test_no_token_in_the_clear() -> None:
    away = Settings("v", Secret(), base_url="http://monitoring.example.com", options=OPTIONS)
    with pytest.raises(ValueError, match="in the clear; write https://"):
        make("vertex", away)


def test_a_key_by_itself_is_refused(fake: GcpMonitoring) -> None:
    keyed = Settings("v", Secret(variable="KEY", environ={"KEY": "x"}), options=OPTIONS)
    with pytest.raises(ValueError, match="credentials_file=PATH"):
        make("vertex", keyed)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file"),
        ("hello", "holds no service account's JSON"),
        ('{"type": "authorized_user", "refresh_token": "tell-nobody-1"}', "holds no service acc"),
        ('{"type": "service_account", "private_key": "tell-nobody-1"}', "cannot be used"),
    ],
)
def test_credentials_that_are_none(
    tmp_path: Path, fake: GcpMonitoring, text: str | None, said: str
) -> None:
    path = tmp_path / "sa.json"
    if text is not None:
        path.write_text(text)
    chosen = settings(fake, options={**OPTIONS, "credentials_file": str(path)})
    with running(tmp_path, "vertex", chosen) as rig:
        found = rig.poll()
        assert found.startswith("failed: credentials: ")
        assert said in found
        assert "tell-nobody" not in found
        assert fake.asked == []
