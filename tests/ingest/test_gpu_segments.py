"""Segments of GPU time over the wire: what is booked of them, and what is refused and why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.agent.wire import body_of, segment_line
from costmeter.ingest.events import Batch, EventReader
from costmeter.ingest.owner import Caller
from costmeter.ingest.refusal import Rejection, TooLarge, Unreadable
from costmeter.ingest.window import Window
from costmeter.model import MS_PER_DAY, MS_PER_HOUR, Usage
from costmeter.segment import Owner, Placement, Segment, Share, segment_usages
from fakes.calls import NOW_MS, call
from fakes.served import Rig, serving

AGENT = Caller("agents")
HOUR = NOW_MS // MS_PER_HOUR * MS_PER_HOUR - 2 * MS_PER_HOUR


def record(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "run_id": "a1b2",
        "sequence": 7,
        "start_ms": HOUR,
        "duration_ms": 60_000,
        "uuid": "GPU-11111111-2222",
        "gpu_model": "NVIDIA H100 80GB HBM3",
        "placement": {"provider": "aws", "region": "us-east-1", "node": "n1"},
        "shares": [
            {"owner": {"tenant_id": "acme", "pod": "p"}, "used_ms": 40_000, "idle_ms": 10_000},
            {"unallocated_ms": 10_000, "energy_mj": 5},
        ],
    }
    found.update(changes)
    return {key: value for key, value in found.items() if value is not ...}


def read(body: object, caller: Caller = AGENT, most: int = 10_000) -> Batch[Usage]:
    reader = EventReader(Window(), most)
    return reader.read(json.dumps(body).encode(), caller, NOW_MS)


def refused(caller: Caller = AGENT, **changes: Any) -> Rejection:
    batch = read({"gpu_segments": [record(**changes)]}, caller)
    assert list(batch.items) == []
    (rejection,) = batch.rejections
    return rejection


def test_a_segment_becomes_the_usage_of_each_share() -> None:
    batch = read({"gpu_segments": [record()]})
    assert list(batch.rejections) == []
    assert list(batch.places) == [0, 0]
    segment = Segment(
        "a1b2", 7, HOUR, 60_000, "GPU-11111111-2222", "NVIDIA H100 80GB HBM3",
        Placement(provider="aws", region="us-east-1", node="n1"),
        (
            Share(Owner(tenant_id="acme", pod="p"), used_ms=40_000, idle_ms=10_000),
            Share(unallocated_ms=10_000, energy_mj=5),
        ),
    )  # fmt: skip
    assert list(batch.items) == list(segment_usages(segment, "agents"))
    assert batch.items[1].labels.tenant_id == "unattributed"


names = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20).map(str.strip)
times = st.integers(0, 300_000)


@given(
    st.lists(
        st.tuples(names, names, times, times, times, times, st.none() | st.integers(0, 10**9)),
        min_size=1,
        max_size=4,
    )
)
def test_what_the_agent_writes_is_what_the_server_reads(shares: list[Any]) -> None:
    built = tuple(
        Share(Owner(tenant_id=tenant or "unattributed", pod=pod), a, b, c, d, energy, pod)
        for tenant, pod, a, b, c, d, energy in shares
        if tenant != "_other"
    )
    total = sum(share.total_ms for share in built)
    if not built or not total:
        return
    segment = Segment("r", 1, HOUR, total, "GPU-1", "A100", Placement(region="r"), built)
    body = body_of([segment_line(segment)])
    if total > MS_PER_HOUR:
        return
    batch = EventReader(Window()).read(body, AGENT, NOW_MS)
    assert list(batch.rejections) == []
    assert list(batch.items) == list(segment_usages(segment, "agents"))


def test_segments_stand_beside_events_and_are_counted_after_them() -> None:
    batch = read({"events": [call(), {}], "gpu_segments": [record(), record(sequence=-1)]})
    assert batch.items[0].event_id == "f:agents:r-1"
    assert list(batch.places) == [0, 2, 2]
    assert sorted(one.place for one in batch.rejections) == [1, 3]


@pytest.mark.parametrize(
    ("changes", "field", "reason", "code"),
    [
        ({"duration_ms": 59_999}, "shares", "add up to 60000 ms and not to the 59999", "invalid"),
        ({"start_ms": HOUR + MS_PER_HOUR - 1}, "duration_ms", "crosses an hour", "invalid"),
        ({"duration_ms": MS_PER_HOUR + 1}, "duration_ms", "<= 3600000", "invalid"),
        ({"duration_ms": 0}, "duration_ms", ">= 1", "invalid"),
        ({"start_ms": HOUR - 8 * MS_PER_DAY}, "start_ms", "days old", "too_old"),
        ({"start_ms": HOUR + MS_PER_DAY}, "start_ms", "in the future", "future"),
        ({"sequence": "1"}, "sequence", "Expected `int`", "invalid"),
        ({"uuid": ...}, "", "missing required field `uuid`", "missing"),
        ({"uuid": "a/b"}, "uuid", "regex", "invalid"),
        ({"run_id": ""}, "run_id", "regex", "invalid"),
        ({"gpu_model": " "}, "gpu_model", "missing", "missing"),
        ({"shares": []}, "shares", "length >= 1", "invalid"),
        ({"price": 3}, "", "unknown field `price`", "unknown_field"),
        ({"shares": [{"used_ms": -1}]}, "shares[0].used_ms", ">= 0", "invalid"),
        (
            {"shares": [{"used_ms": 60_000, "owner": {"tenant_id": "_other"}}]},
            "shares[0].owner.tenant_id", "reserved", "tenant",
        ),
        (
            {"shares": [{"used_ms": 60_000, "owner": {"pod": "a\nb"}}]},
            "shares[0].owner.pod", "control characters", "invalid",
        ),
        ({"placement": {"provider": "a:b"}}, "provider", "no colon", "invalid"),
        ({"placement": {"purchase": "stolen"}}, "placement.purchase", "enum", "invalid"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(changes: Any, field: str, reason: str, code: str) -> None:
    rejection = refused(**changes)
    assert reason in rejection.reason
    assert (rejection.field, rejection.code) == (field, code)
    assert rejection.retriable == (code == "future")


def test_a_tenants_own_token_may_not_send_segments() -> None:
    rejection = refused(Caller("f", "acme"))
    assert rejection.code == "tenant"
    assert "bound to none" in rejection.reason


def test_a_share_counts_as_an_event() -> None:
    assert len(read({"gpu_segments": [record(), record(sequence=8)]}, most=4).items) == 4
    with pytest.raises(TooLarge, match="a share of a segment"):
        read({"gpu_segments": [record(), record(sequence=8)]}, most=3)


def test_a_key_beside_the_lists_makes_the_body_unreadable() -> None:
    with pytest.raises(Unreadable, match="unknown key 'x'"):
        read({"gpu_segments": [], "x": 1})
    with pytest.raises(Unreadable, match="must be an array"):
        read({"gpu_segments": {"a": 1}})
    with pytest.raises(Unreadable, match="not JSON"):
        EventReader(Window()).read(b'{"gpu_segments": [', AGENT, NOW_MS)


def test_an_event_that_only_speaks_of_segments_is_an_event() -> None:
    batch = read({"events": [call(feature="gpu_segments")]})
    assert batch.items[0].labels.feature == "gpu_segments"
    assert read(call(feature="gpu_segments")).items[0].labels.feature == "gpu_segments"


def test_over_http_a_segment_is_booked_once_and_counted_by_its_credential() -> None:
    with serving(Rig()) as rig:
        now = rig.clock.now_ms()
        start = now // MS_PER_HOUR * MS_PER_HOUR - MS_PER_HOUR
        body = {"gpu_segments": [record(start_ms=start), record(start_ms=start, sequence="x")]}
        first, second = rig.send(body).json(), rig.send(body).json()
        assert (first["accepted"], first["duplicate"]) == (1, 0)
        assert (second["accepted"], second["duplicate"]) == (0, 1)
        assert [one["index"] for one in first["rejected"]] == [1]
        counted = rig.tally.read()
        assert counted["costmeter_events_accepted_total"] == {("http",): 1}
        assert counted["costmeter_events_duplicate_total"] == {("http",): 1}
        assert counted["costmeter_events_rejected_total"] == {("http", "invalid"): 2}
        assert rig.door is not None
        assert len(rig.door.usages) == 2
