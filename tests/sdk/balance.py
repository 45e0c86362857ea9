"""The books of a meter: every tracked event is in exactly one place."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from costmeter.sdk import Stats
from fakes.exporter import Exporter


def balanced(stats: Stats) -> bool:
    """`tracked + adopted` is the sum of every place that an event can be in."""
    places = stats.accepted + stats.duplicate + stats.observed + stats.queued + stats.spooled
    return stats.tracked + stats.adopted == places + stats.lost


def booked(exporter: Exporter) -> int:
    """Events in the ledger's own table, whatever the exporter says about itself."""
    address = f"file:{exporter.ledger}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=10)) as ledger:
        return int(ledger.execute("SELECT count(*) FROM usage_event").fetchone()[0])
