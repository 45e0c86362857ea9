"""Whatever the provider does, a poll ends with the right reason, and the next one makes it good."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.anthropic_admin import AnthropicAdmin, tokens
from fakes.anthropic_admin import cost as claude_cost
from fakes.litellm_proxy import LiteLLMProxy, day, metrics
from fakes.openai_admin import OpenAIAdmin, completions, cost
from fakes.openrouter import OpenRouterApi, activity
from fakes.reports import Fault, Reports, serving
from sources.rig import DAY, HOUR, TODAY, Lines, running, settings

YESTERDAY = TODAY - DAY


def openai() -> tuple[Reports, str, int]:
    fake = OpenAIAdmin()
    fake.usage["completions"] = [(YESTERDAY + 3 * HOUR, completions(input_tokens=1_000))]
    fake.costs = [(YESTERDAY, cost("1.25"))]
    return fake, "/v1", 1_250_000_000


def anthropic() -> tuple[Reports, str, int]:
    fake = AnthropicAdmin()
    fake.messages = [(YESTERDAY, tokens(uncached_input_tokens=1_000))]
    fake.costs = [(YESTERDAY, claude_cost("123.45"))]
    return fake, "", 1_234_500_000


def openrouter() -> tuple[Reports, str, int]:
    fake = OpenRouterApi("2026-11-22")
    fake.days["2026-11-21"] = [activity(0.015)]
    return fake, "/api/v1", 15_000_000


def litellm() -> tuple[Reports, str, int]:
    fake = LiteLLMProxy()
    fake.rows = [("2026-11-21", day("gpt-5", metrics(1.25, 1_000, 200)))]
    return fake, "", 1_250_000_000


PROVIDERS: dict[str, Callable[[], tuple[Reports, str, int]]] = {
    "openai": openai, "anthropic": anthropic, "openrouter": openrouter, "litellm": litellm,
}  # fmt: skip
CUT = b'{"data": [{"start_time": 17'
#: (the answers that go wrong, the reason of the poll that they fail or None).
FAULTS: dict[str, tuple[list[Fault], str | None]] = {
    "one 500": ([Fault(500)], None),
    "503 for long": ([Fault(503)] * 4, "server"),
    "429 in seconds": ([Fault(429, {"Retry-After": "2"})], None),
    "429 as a date": ([Fault(429, {"Retry-After": "Sun, 22 Nov 2026 10:30:05 GMT"})], None),
    "429 in ms": ([Fault(429, {"retry-after-ms": "1500"})], None),
    "429 by limits": ([Fault(429, {"x-ratelimit-reset-requests": "1s"})], None),
    "429 for an hour": ([Fault(429, {"Retry-After": "3600"})], "throttled"),
    "401": ([Fault(401)], "credentials"),
    "403": ([Fault(403)], "credentials"),
    "400": ([Fault(400)], "request"),
    "a redirect": ([Fault(302, {"Location": "http://127.0.0.1:1/"})], "request"),
    "truncated JSON": ([Fault(body=CUT)], None),
    "always truncated": ([Fault(body=CUT)] * 4, "malformed"),
    "a body cut off": ([Fault(cut=10)] * 4, "malformed"),
    "no JSON": ([Fault(body=b"<html>busy</html>")] * 4, "malformed"),
    "a list": ([Fault(body=b"[]")] * 4, "malformed"),
    "NaN": ([Fault(body=b'{"data": NaN}')] * 4, "malformed"),
    "deep nesting": ([Fault(body=b"[" * 100_000)] * 4, "malformed"),
    "cut gzip": (
        [Fault(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"{}" * 500)[:-9])] * 4,
        "malformed",
    ),
    "a bomb": (
        [Fault(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b" " * (33 << 20), 1))],
        "too_large",
    ),
    "data is null": ([Fault(change=lambda a: {**a, "data": 5, "results": 5})], "malformed"),
}


@pytest.mark.parametrize("kind", PROVIDERS)
def test_faults(tmp_path: Path, kind: str) -> None:
    fake, path, expected = PROVIDERS[kind]()
    errors: dict[tuple[str, ...], float] = {}
    with serving(fake), running(tmp_path, kind, settings(fake, path=path), books=False) as rig:
        for fault, (answers, reason) in FAULTS.items():
            rig.pauses.clear()
            fake.faults.extend(answers)
            said = rig.poll()
            if reason is None:
                assert "failed" not in said, fault
                assert rig.pauses, fault
                assert all(pause <= 60 for pause in rig.pauses), fault
            else:
                assert said.startswith(f"failed: {reason}"), fault
                errors["bill", reason] = errors.get(("bill", reason), 0) + 1
                assert rig.tally("costmeter_source_up") == {("bill",): 0}, fault
                assert not rig.poller.due(), fault
                rig.ledger.clock.advance(minutes=70 if reason == "throttled" else 1)
                assert rig.poller.due(), fault
                assert not fake.faults, fault
                assert "failed" not in rig.poll(), fault
            assert rig.tally("costmeter_source_errors_total") == errors, fault
            assert rig.bills.nano() == expected, fault
            assert rig.tally("costmeter_source_up") == {("bill",): 1}, fault
            assert fake.key not in said, fault


def test_a_slow_answer_ends_in_time_and_says_so(tmp_path: Path) -> None:
    fake, path, expected = openai()
    gate = threading.Event()
    with (
        serving(fake),
        running(tmp_path, "openai", settings(fake, path=path, timeout_seconds=0.2)) as rig,
    ):
        fake.faults.extend([Fault(gate=gate)] * 4)
        assert rig.poll().startswith("failed: timeout: 127.0.0.1 took more than 0.2 s")
        gate.set()
        assert "failed" not in rig.poll()
        assert rig.bills.nano() == expected


def test_nobody_there(tmp_path: Path) -> None:
    fake, path, _ = openai()
    fake.port = 1
    with running(tmp_path, "openai", settings(fake, path=path)) as rig:
        assert rig.poll().startswith("failed: network")


def test_a_refused_key_is_shown_to_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake, path, _ = openai()
    with serving(fake), running(tmp_path, "openai", settings(fake, path=path)) as rig:
        chosen = settings(fake, path=path)
        fake.key = "sk-admin-another"
        said = rig.poll()
        assert said.startswith("failed: credentials: 127.0.0.1 answered 401")
        for text in (said, caplog.text, repr(chosen), repr(rig.source), str(vars(rig.source))):
            assert "0123456789" not in text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: {**a, "has_more": True, "next_page": "page_9"}, "repeated_page"),
        (lambda a: {**a, "has_more": True, "next_page": None}, "malformed"),
        (lambda _: {"data": [], "has_more": True, "next_page": "page_1"}, "repeated_page"),
    ],
)
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_page_that_repeats_ends_with_an_error(
    tmp_path: Path, kind: str, change: Callable[[Any], Any], reason: str
) -> None:
    fake, path, _ = PROVIDERS[kind]()
    with serving(fake), running(tmp_path, kind, settings(fake, path=path)) as rig:
        fake.faults.extend([Fault(change=change)] * 50)
        assert rig.poll().startswith(f"failed: {reason}")
        assert len(fake.asked) < 10


def test_a_bill_that_cannot_be_kept_moves_nothing(tmp_path: Path) -> None:
    fake, path, expected = openai()
    bills = Lines()
    bills.error = ValueError("a line that nobody can keep")
    with serving(fake), running(tmp_path, "openai", settings(fake, path=path), bills=bills) as rig:
        assert "a line that nobody can keep" in rig.poll()
        bills.error = None
        rig.poll()
        assert bills.nano() == expected
        assert rig.booked("input") == 1_000
