"""Tries at doubling distances, and each thing said once."""

from __future__ import annotations

import logging

import pytest

from costmeter.gpu.backoff import Backoff, Notices


def tries(backoff: Backoff, seconds: range) -> list[int]:
    made = []
    for second in seconds:
        if backoff.due(1000 * second):
            backoff.tried(1000 * second)
            made.append(second)
    return made


def test_distances_double_up_to_the_last() -> None:
    backoff = Backoff(1_000, 60_000)
    assert tries(backoff, range(200)) == [0, 1, 3, 7, 15, 31, 63, 123, 183]


def test_a_quiet_time_makes_it_prompt_again() -> None:
    backoff = Backoff(1_000, 60_000)
    tries(backoff, range(64))
    assert tries(backoff, range(183, 192)) == [183, 184, 186, 190]


def test_a_short_rest_does_not() -> None:
    backoff = Backoff(1_000, 60_000)
    tries(backoff, range(64))
    assert tries(backoff, range(182, 243)) == [182, 242]


def test_a_subject_is_said_once_until_it_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices(logging.getLogger("costmeter.gpu"))
    for _ in range(3):
        notices.say("a", "first")
        notices.say("b", "second")
    notices.forget("a")
    notices.say("a", "third")
    notices.say("b", "fourth")
    assert [record.getMessage() for record in caplog.records] == ["first", "second", "third"]
