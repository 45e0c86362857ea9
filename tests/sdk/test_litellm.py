"""The callback under the real LiteLLM, and what it makes of the details it is given."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from costmeter.sdk.litellm_details import ATTRIBUTES, answer, clean, owner
from fakes.exporter import environment
from fakes.provider import Step
from sdk.booked import exporter_in, rig

#: Not imported here: it takes seconds, and asks the network for prices.
needs_litellm = pytest.mark.skipif(find_spec("litellm") is None, reason="LiteLLM is missing")
HERE = Path(__file__).parent


@needs_litellm
@pytest.mark.slow
def test_what_is_booked_equals_what_the_provider_counted(tmp_path: Path) -> None:
    with exporter_in(tmp_path) as exporter, rig(exporter, "litellm") as on:
        on.provider.plan(*(Step() for _ in range(5)), Step(status=400))
        ran = subprocess.run(
            [sys.executable, HERE / "litellm_calls.py", on.provider.url,
             f"http://{exporter.address}", on.tenant_id],
            env={**environment(), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr[-3000:]
        said = json.loads(ran.stdout.splitlines()[-1])
        assert said == {"cached": 1, "tracked": 11, "lost": 0, "duplicate": 0}
        assert on.provider.requests() == on.requests()
        assert on.provider.tokens() == on.tokens()
        events = on.events()
        assert "secret" not in str(events)
        first, second = events[:2]
        assert (first.provider, first.model, first.id) == (
            "openai", "gpt-4o-mini", "p:openai:chatcmpl-1",
        )  # fmt: skip
        assert (first.feature, first.team, first.user_id, first.session_id) == (
            "answers", "search", "u1", "s1",
        )  # fmt: skip
        assert first.detail["tags"] == {"litellm_tags": "a,b"}
        assert (second.provider, second.id) == ("anthropic", "p:anthropic:msg_000002")
        assert [event.feature for event in events].count("async") == 1
        kinds = Counter(event.operation for event in events)
        assert kinds == {"generation": 9, "embedding": 2}
        assert all(0 <= event.latency_ms < 60_000 for event in events)


PROXY: Any = {
    "litellm_params": {"metadata": {"team": "spoofed", "feature": "chat", "tenant_id": "spoofed"}},
    "user": "end-user",
}
KEY: Any = {
    "metadata": {
        "user_api_key_org_id": "acme",
        "user_api_key_team_id": "t1",
        "user_api_key_team_alias": "search",
        "user_api_key_alias": "ci-key",
        "requester_metadata": {"session_id": "s9", "project": "p1"},
    },
    "request_tags": ["a", "b"],
    "end_user": "u7",
}


def test_what_the_proxy_knows_of_a_key_wins() -> None:
    assert owner(PROXY, KEY) == {
        "tenant_id": "acme",
        "team": "search",
        "feature": "chat",
        "project": "p1",
        "session_id": "s9",
        "user_id": "u7",
        "tags": {"litellm_tags": "a,b", "litellm_key": "ci-key"},
    }


def test_attributes_of_the_calling_code_are_the_ground() -> None:
    details = {ATTRIBUTES: {"tenant_id": "acme", "feature": "f"}, "litellm_params": {}}
    assert owner(details, {}) == {"tenant_id": "acme", "feature": "f"}
    said = {**details, "litellm_params": {"metadata": {"feature": "g"}}}
    assert owner(said, {}) == {"tenant_id": "acme", "feature": "g"}


@pytest.mark.parametrize("broken", [None, "text", 7, [], {"metadata": None}])
def test_details_of_another_shape(broken: Any) -> None:
    assert owner({"litellm_params": {"metadata": broken}}, {}) == {}


def test_the_providers_own_answer_is_preferred() -> None:
    own = {"id": "msg_1", "model": "claude-sonnet-5", "content": "secret",
           "usage": {"input_tokens": 5, "output_tokens": 7}}  # fmt: skip
    litellms = {"id": "chatcmpl-made-up", "model": "claude-sonnet-5",
                "usage": {"prompt_tokens": 5, "completion_tokens": 7}}  # fmt: skip
    assert answer(litellms, json.dumps(own)) == {
        name: value for name, value in own.items() if name != "content"
    }
    assert answer(litellms, "no JSON") == litellms
    assert answer(litellms, '{"error": 1}') == litellms


def test_what_was_cached_for_an_hour_keeps_its_class() -> None:
    usage = {
        "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
        "prompt_tokens_details": {
            "cached_tokens": 30,
            "cache_creation_token_details": {
                "ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6,
            },
        },
        "completion_tokens_details": {"reasoning_tokens": 5},
        "cache_creation_input_tokens": 10, "cache_read_input_tokens": 30,
    }  # fmt: skip
    found = answer({"id": "x", "model": "claude-sonnet-5", "usage": usage}, None)["usage"]
    assert found == {
        "input_tokens": 60,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 10,
        "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6},
        "output_tokens": 20,
        "output_tokens_details": {"thinking_tokens": 5},
    }


def test_zeros_that_mean_unknown_are_no_usage() -> None:
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert answer({"id": "x", "usage": usage}, None)["usage"] is None


def test_texts_are_cleaned() -> None:
    assert clean("a\x00b\n") == "ab"
    assert clean("x" * 500) == "x" * 200
    assert clean({"a": 1}) == ""
