"""What observed feeds saw of a day, beside what was booked: do they tell of the same calls?"""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection
from typing import NamedTuple

from costmeter.ledger.identity import digest
from costmeter.model import TOKEN_CLASSES

_TOKENS = ", ".join(f"'{name}'" for name in TOKEN_CLASSES)
#: A poll's record sums up many calls and says how many; any other record is one.
_CALLS = "coalesce({0} ->> '$.requests', 1)"
_SUM = f"(SELECT coalesce(sum(value), 0) FROM json_each({{0}}) WHERE key IN ({_TOKENS}))"
_OBSERVED = (
    f"SELECT dim.scope, o.feed, sum({_CALLS.format('o.quantities')}), "
    f"sum({_SUM.format('o.quantities')}), count(*), sum(EXISTS("
    "SELECT 1 FROM identity AS i JOIN usage_event AS e ON e.event = i.event "
    "WHERE i.day IN (o.day - 1, o.day, o.day + 1) AND i.h = digest(o.org, o.id) "
    "AND e.org = o.org AND e.id = o.id)) "
    "FROM observed_event AS o JOIN dim ON dim.dim = o.dim "
    "WHERE o.org = ? AND o.day = ? GROUP BY dim.scope, o.feed"
)
_BOOKED = (
    f"SELECT dim.scope, sum(c.requests), sum({_SUM.format('c.quantities')}) "
    "FROM day_cell AS c JOIN dim ON dim.dim = c.dim "
    "WHERE c.org = ? AND c.day = ? AND c.kind IN ('usage', 'unpriced') GROUP BY dim.scope"
)


class Observed(NamedTuple):
    """A feed that is only compared, on one day: its calls and tokens, the scope's booked ones,
    and how many of its records are booked under the same identity."""

    scope: str
    feed: str
    calls: int
    tokens: int
    records: int
    booked_records: int
    booked_calls: int
    booked_tokens: int


def observed_on(connection: Connection, day: int) -> Sequence[Observed]:
    """Every observed feed of a UTC day, by scope and feed. Reads each of its records once."""
    connection.create_function("digest", 2, digest, deterministic=True)
    seen: dict[tuple[str, str], list[int]] = {}
    booked: dict[str, list[int]] = {}
    orgs = [row[0] for row in connection.execute("SELECT org FROM org ORDER BY org")]
    for org in orgs:
        for scope, feed, *found in connection.execute(_OBSERVED, (org, day)):
            _add(seen.setdefault((scope, feed), [0] * 4), found)
        for scope, *found in connection.execute(_BOOKED, (org, day)):
            _add(booked.setdefault(scope, [0] * 2), found)
    return [
        Observed(scope, feed, *found, *booked.get(scope, (0, 0)))
        for (scope, feed), found in sorted(seen.items())
    ]


def _add(to: list[int], found: Sequence[int]) -> None:
    for place, number in enumerate(found):
        to[place] += number
