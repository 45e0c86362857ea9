"""Events as senders write them, at the fake clock's time."""

from __future__ import annotations

from typing import Any

NOW_MS = 1_763_805_600_000
NOW = "2025-11-22T10:00:00Z"


def call(number: int = 1, **changes: Any) -> dict[str, Any]:
    """One small event; None as a change leaves the field out."""
    event = {
        "request_id": f"r-{number}",
        "timestamp": NOW,
        "provider": "openai",
        "model": "gpt-4o-mini",
        "tokens": {"input": 1200, "output": 150},
    } | changes
    return {name: value for name, value in event.items() if value is not None}
