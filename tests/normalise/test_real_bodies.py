"""Every real body of the conformance set, against the usage that should come out."""

from __future__ import annotations

from collections import Counter

import pytest

from costmeter.model import QUANTITIES
from costmeter.normalise import normalise_response
from normalise.conformance import BODIES, Case, cases, disjoint
from normalise.exceptions import EXCEPTIONS, Blind, without

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not BODIES.exists(), reason=f"{BODIES} is absent; set COSTMETER_DATA to the data folder"
    ),
]


def test_every_reading_is_the_expected_one_or_a_listed_exception() -> None:
    unexplained = []
    explained: Counter[str] = Counter()
    readings = 0
    for case in cases():
        readings += 1
        if normalise_response(case.provider, case.body).quantities == case.quantities:
            continue
        rows = [row for row in EXCEPTIONS if _matters(row, case)]
        hidden = tuple(field for row in rows for field in row.fields)
        stripped = normalise_response(case.provider, without(case.body, hidden))
        if stripped.quantities != case.quantities:
            unexplained.append((case.case_id, case.quantities, stripped.quantities))
        explained.update(row.name for row in rows)
    assert readings > 4000
    assert unexplained == []
    assert {row.name: row.cases for row in EXCEPTIONS} == dict(explained)


def test_the_providers_own_extractor_is_hardly_ever_an_exception() -> None:
    own = {
        "anthropic/default": "cache_creation_input_tokens",
        "openai/chat": "prompt_tokens",
        "openai/responses": "input_tokens_details",
        "google/default": "promptTokenCount",
        "aws/default": "inputTokens",
        "cohere/default": "billed_units",
    }
    seen: Counter[str] = Counter()
    differing = []
    for case in cases():
        usage = case.body.get("usage") or case.body.get("usageMetadata") or {}
        if own.get(case.extractor) not in usage:
            continue
        seen[case.extractor] += 1
        if normalise_response(case.provider, case.body).quantities != case.quantities:
            differing.append((case.case_id, [key for key in usage if "cached" in key]))
    assert set(own) == set(seen)
    assert all("num_cached_tokens" in keys for _, keys in differing), differing


def test_parts_add_up_to_the_providers_own_total() -> None:
    with_total = 0
    for body in {case.case_id.partition(":")[0]: case.body for case in cases()}.values():
        usage = body.get("usage") or body.get("usageMetadata") or {}
        total = usage.get("total_tokens", usage.get("totalTokens", usage.get("totalTokenCount")))
        if total is None:
            continue
        with_total += 1
        read = normalise_response("", body)
        tokens = sum(value for name, value in read.quantities.items() if "searches" not in name)
        assert total == tokens, body
    assert with_total > 200


def test_bodies_say_their_model_and_only_known_classes() -> None:
    for case in cases():
        read = normalise_response(case.provider, case.body)
        assert set(read.quantities) <= QUANTITIES
        assert case.body.get("model", case.body.get("modelVersion", "")) == read.model


def test_the_price_of_a_case_is_text_and_the_usage_is_disjoint() -> None:
    priced = [case for case in cases() if case.input_price is not None]
    assert len(priced) > 800
    assert disjoint({"input_tokens": 4020, "cache_read_tokens": 4012, "output_tokens": 5}) == {
        "input": 8,
        "cache_read": 4012,
        "output": 5,
    }


def _matters(row: Blind, case: Case) -> bool:
    """True where the extractor is blind to a field that changes our reading of this body."""
    if case.extractor not in row.extractors:
        return False
    stripped = without(case.body, row.fields)
    if stripped == case.body:
        return False
    whole = normalise_response(case.provider, case.body)
    return normalise_response(case.provider, stripped).quantities != whole.quantities
