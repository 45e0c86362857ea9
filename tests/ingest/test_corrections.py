from __future__ import annotations

import json
from typing import Any

import pytest

from costmeter.ingest.corrections import CORRECTABLE, CorrectionReader
from costmeter.ingest.owner import Caller
from costmeter.ingest.refusal import Rejection
from costmeter.model import MS_PER_DAY, Correction, Labels, Usage
from fakes.calls import NOW, NOW_MS

ANYONE = Caller("http")
DAY = NOW_MS // MS_PER_DAY


def record(**changes: Any) -> dict[str, Any]:
    said = {"correction_id": "c-1", "timestamp": NOW, "request_id": "r-1", "set": {"team": "ads"}}
    return {name: value for name, value in (said | changes).items() if value is not None}


def read(*records: object, caller: Caller = ANYONE) -> tuple[list[Correction], list[Rejection]]:
    batch = CorrectionReader().read(json.dumps(records).encode(), caller)
    return list(batch.items), list(batch.rejections)


def test_a_correction_names_the_event_as_it_was_booked() -> None:
    assert read(record()) == (
        [Correction("c-1", "default", DAY, "f:http:r-1", {"team": "ads"}, None)],
        [],
    )
    (by_response,), _ = read(
        record(
            response_id="chatcmpl-9",
            provider=" OpenAI",
            tenant_id="acme",
            day="2025-11-22",
            timestamp=None,
        ),
        caller=Caller("gateway"),
    )
    assert by_response[1:4] == ("acme", DAY, "p:openai:chatcmpl-9")


def test_quantities_are_replaced_whole() -> None:
    (correction,), _ = read(record(set=None, tokens={"input": 5, "output": 0}))
    assert (correction.changes, correction.quantities) == ({}, {"input": 5})
    (emptied,), _ = read(record(set=None, tokens={}))
    assert emptied.quantities == {}


def test_what_can_be_corrected_are_fields_that_usage_has() -> None:
    assert set(CORRECTABLE) <= set(Labels._fields) | set(Usage._fields)
    values = {"status": "error", "processing": "batch"}
    for name in CORRECTABLE:
        (correction,), _ = read(record(set={name: values.get(name, "x")}))
        assert correction.changes == {name: values.get(name, "x")}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"correction_id": None}, "correction_id"),
        ({"correction_id": " "}, "correction_id"),
        ({"timestamp": None}, "timestamp"),
        ({"timestamp": -5}, "timestamp"),
        ({"timestamp": 10**30}, "timestamp"),
        ({"day": "2025-11-22"}, "day"),
        ({"timestamp": None, "day": "22.11.2025"}, "day"),
        ({"timestamp": None, "day": "1925-11-22"}, "day"),
        ({"request_id": None}, "request_id"),
        ({"response_id": "x"}, "provider"),
        ({"set": None}, "set"),
        ({"set": {}}, "set"),
        ({"set": {"tenant_id": "other"}}, "set.tenant_id"),
        ({"set": {"category": "support"}}, "set.category"),
        ({"set": {"model": ""}}, "set.model"),
        ({"set": {"status": "fine"}}, "set.status"),
        ({"set": {"team": 5}}, "set.team"),
        ({"set": {"team": "a\u0000"}}, "set.team"),
        ({"tokens": {"nope": 1}}, "tokens.nope"),
        ({"colour": "red"}, "colour"),
        ({"tenant_id": "_other"}, "tenant_id"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], field: str) -> None:
    corrections, (rejection,) = read(record(**changes))
    assert (corrections, rejection.field, rejection.place) == ([], field, 0)


def test_a_bound_token_corrects_its_own_tenant_only() -> None:
    acme = Caller("gateway", "acme")
    (correction,), (rejection,) = read(record(), record(tenant_id="bolt"), caller=acme)
    assert (correction.tenant_id, correction.event_id) == ("acme", "f:gateway:r-1")
    assert (rejection.place, rejection.field, rejection.code) == (1, "tenant_id", "tenant")
