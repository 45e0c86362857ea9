"""The configuration that a command runs with, and instants as people write them."""

from __future__ import annotations

import argparse
import os
import re
import time
from datetime import UTC, datetime
from decimal import Decimal

from costmeter.cli.errors import CommandError
from costmeter.config import Config, load_config
from costmeter.model import MS_PER_DAY, NANO_PER_USD

_FLAGS = {
    "ledger_path": "ledger.path",
    "listen_address": "web.listen_address",
    "web_config_file": "web.config_file",
    "log_level": "log.level",
    "log_format": "log.format",
}
_AGO = re.compile(r"(\d+)([smhdw])")
#: What counts as a time at all: years 1 to 9999, as dates have them.
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": MS_PER_DAY, "w": 7 * MS_PER_DAY}


def config_of(arguments: argparse.Namespace) -> Config:
    """Flags over environment over file over defaults. Raises ConfigError."""
    flags = {
        key: str(value)
        for name, key in _FLAGS.items()
        if (value := getattr(arguments, name, None)) is not None
    }
    path = getattr(arguments, "config_file", None)
    return load_config(path, os.environ, flags)


def instant(text: str, now_ms: int) -> int:
    """`24h` ago, `2026-11-01` (UTC midnight) or an instant, in Unix milliseconds."""
    ago = _AGO.fullmatch(text)
    if ago:
        # Longer ago than there are dates is everything.
        return max(now_ms - int(ago[1][:20]) * _UNIT_MS[ago[2]], _FIRST_MS)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"{text!r} is no time; write 24h, 7d, 2026-11-01 or 2026-11-01T08:00:00Z"
        ) from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return min(max(int(parsed.timestamp()) * 1_000, _FIRST_MS), _LAST_MS)


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def usd(nano: int) -> Decimal:
    """Nano-USD as exact USD."""
    return Decimal(nano) / NANO_PER_USD
