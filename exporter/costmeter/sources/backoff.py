"""How long a provider wants to be left alone, in each of the forms in which it is said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Nobody is left alone for longer: a header with nonsense must not silence a source.
LONGEST_MS = 6 * 3_600_000
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|us|µs|ns|s|m|h|d)")
_UNIT_MS = {
    "ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0,
    "s": 1e3, "m": 6e4, "h": 3.6e6, "d": 8.64e7,
}  # fmt: skip
#: Numbers above this are instants, in seconds; ten times a day is no duration any more.
_AN_INSTANT = 864_000
_MILLISECONDS = 100_000_000_000
_KINDS = ("requests", "tokens", "input-tokens", "output-tokens")


def retry_after_ms(headers: Mapping[str, str], now_ms: int) -> int | None:
    """Milliseconds to wait, None where nothing is said. `headers` have lower-case names.

    `retry-after-ms` and Azure's `x-ms-retry-after-ms` count first. Then the longest of
    `retry-after` (seconds or an HTTP date) and Azure's `x-ms-ratelimit-*-retry-after`, of
    which each limit has one. Then the resets of limits, of which those that are used up
    count: OpenAI's `x-ratelimit-reset-*` (durations such as 6m0s), Anthropic's
    `anthropic-ratelimit-*-reset` (RFC 3339) and the plain `x-ratelimit-reset` (seconds left,
    or an instant).
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        exact = headers.get(name, "").strip()
        if _NUMBER.fullmatch(exact):
            return _bounded(float(exact))
    waits = [
        _seconds_or_date(said.strip(), now_ms)
        for name, said in headers.items()
        if name == "retry-after"
        or (name.startswith("x-ms-ratelimit-") and name.endswith("-retry-after"))
    ]
    known = [wait for wait in waits if wait is not None]
    return _bounded(max(known)) if known else _of_limits(headers, now_ms)


def _seconds_or_date(said: str, now_ms: int) -> float | None:
    return float(said) * 1000 if _NUMBER.fullmatch(said) else _until_date(said, now_ms)


def _of_limits(headers: Mapping[str, str], now_ms: int) -> int | None:
    waits = []
    for reset, remaining in _limits(headers):
        left = headers.get(remaining, "0").strip()
        # A limit with something left is not what turned the call away.
        if _NUMBER.fullmatch(left) and float(left) > 0:
            continue
        found = _reset(headers[reset].strip(), now_ms)
        if found is not None:
            waits.append(found)
    return _bounded(max(waits)) if waits else None


def _limits(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    named = [
        ("x-ratelimit-reset", "x-ratelimit-remaining"),
        ("ratelimit-reset", "ratelimit-remaining"),
    ]
    named += [(f"x-ratelimit-reset-{kind}", f"x-ratelimit-remaining-{kind}") for kind in _KINDS]
    named += [
        (f"anthropic-ratelimit-{kind}-reset", f"anthropic-ratelimit-{kind}-remaining")
        for kind in _KINDS
    ]
    return [pair for pair in named if headers.get(pair[0])]


def _reset(text: str, now_ms: int) -> float | None:
    """A duration (6m0s, 1.5s, 20ms), seconds, an instant in seconds or ms, or RFC 3339."""
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number > _MILLISECONDS:
            return number - now_ms
        return number * 1000 - now_ms if number > _AN_INSTANT else number * 1000
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNIT_MS[unit] for number, unit in parts)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return _until_date(text, now_ms)
    return _utc_ms(instant) - now_ms


def _until_date(text: str, now_ms: int) -> float | None:
    try:
        return _utc_ms(parsedate_to_datetime(text)) - now_ms
    except (ValueError, TypeError, OverflowError):
        return None


def _utc_ms(instant: datetime) -> float:
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000


def _bounded(milliseconds: float) -> int:
    return int(min(max(milliseconds, 0), LONGEST_MS))


def after_failures(count: int, first_ms: int = 30_000, most_ms: int = 3_600_000) -> int:
    """How long to wait after `count` failures in a row: doubled each time, up to an hour."""
    return min(most_ms, first_ms << min(max(count - 1, 0), 20))
