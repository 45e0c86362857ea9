"""Every form in which a provider says how long it wants to be left alone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from costmeter.sources.backoff import LONGEST_MS, after_failures, retry_after_ms

NOW_MS = 1_795_343_400_000  # 2026-11-22T10:30:00Z
AZURE = "x-ms-ratelimit-microsoft.costmanagement"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7_000),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "1.5"}, 1_500),
        ({"retry-after": "Sun, 22 Nov 2026 10:31:00 GMT"}, 60_000),
        ({"retry-after": "Sun, 22 Nov 2026 10:29:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "999999999"}, LONGEST_MS),
        ({"retry-after-ms": "250", "retry-after": "9"}, 250),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9_000),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360_000),
        ({"x-ratelimit-reset-tokens": "20ms"}, 20),
        ({"x-ratelimit-reset-tokens": "1h2m3.5s"}, 3_723_500),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "5"}, None),
        (
            {
                "x-ratelimit-reset-requests": "60s",
                "x-ratelimit-remaining-requests": "5",
                "x-ratelimit-reset-tokens": "2s",
                "x-ratelimit-remaining-tokens": "0",
            },
            2_000,
        ),
        ({"x-ratelimit-reset": "1795343430"}, 30_000),
        ({"x-ratelimit-reset": "1795343430000"}, 30_000),
        ({"x-ratelimit-reset": "45"}, 45_000),
        ({"anthropic-ratelimit-requests-reset": "2026-11-22T10:30:12Z"}, 12_000),
        ({"retry-after": "3", "x-ratelimit-reset": "45"}, 3_000),
        ({"x-ms-retry-after-ms": "1500", "retry-after": "9"}, 1_500),
        ({f"{AZURE}-qpu-retry-after": "20"}, 20_000),
        ({f"{AZURE}-entity-retry-after": "Sun, 22 Nov 2026 10:30:40 GMT"}, 40_000),
        (
            {
                f"{AZURE}-qpu-retry-after": "7",
                f"{AZURE}-entity-retry-after": "21",
                f"{AZURE}-tenant-retry-after": "x",
                f"{AZURE}-clienttype-retry-after": "",
                "retry-after": "9",
            },
            21_000,
        ),
        ({f"{AZURE}-qpu-retry-after": "7", "retry-after": "9"}, 9_000),
        ({f"{AZURE}-qpu-remaining": "7", f"{AZURE}-qpu-consumed": "5"}, None),
    ],
)
def test_forms(headers: Mapping[str, str], expected: int | None) -> None:
    assert retry_after_ms(headers, NOW_MS) == expected


def test_failures_in_a_row_wait_longer_up_to_an_hour() -> None:
    assert [after_failures(n) for n in (1, 2, 3, 8, 50)] == [
        30_000, 60_000, 120_000, 3_600_000, 3_600_000,
    ]  # fmt: skip
