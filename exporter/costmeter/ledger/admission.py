"""Which label values have series of their own, and which are counted under `_other`.

The mapping of a posting to its exported labels is a pure function of (dim, booking
day) and the table `admitted`, and no past posting ever moves. While a label has room,
a new value is admitted at once; on a day on which the label overflowed, nothing more
is admitted until the next booking day. Whole tuples are limited too: on overflow the
tenant becomes `_other`, then the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sqlite3 import Connection

import msgspec
from msgspec import Struct, field

from costmeter.model import OTHER, Labels

#: Values of a spend series, in the order of the catalog; team and feature are empty
#: strings, and so not exported, until the ledger's extra labels enable them.
EXPORTED = ("category", "provider", "model", "tenant_id", "environment", "team", "feature")
OPTIONAL = ("team", "feature")
_TENANT, _MODEL = EXPORTED.index("tenant_id"), EXPORTED.index("model")

#: Pseudo-labels in the table `admitted`.
_TUPLE = "(tuple)"
_ENABLED = "(enabled)"
_FULL = "(full)"

#: A label without a limit is admitted value by value all the same: the table alone must
#: tell how a posting was mapped.
_UNLIMITED = 1 << 62

Tuple = tuple[str, ...]


class Limits(Struct, frozen=True):
    """How many values a label may have, and how many whole tuples a ledger."""

    tuples: int = 50_000
    per_label: Mapping[str, int] = field(
        default_factory=lambda: {
            "provider": 200,
            "model": 2_000,
            "tenant_id": 10_000,
            "environment": 50,
            "team": 2_000,
            "feature": 2_000,
        }
    )


class Admission:
    """Used inside the write transaction only."""

    def __init__(self, connection: Connection, limits: Limits, *, admitting: bool = True) -> None:
        """With `admitting` False it only tells how postings were mapped, and writes nothing."""
        self._connection = connection
        self._admitting = admitting
        self._limits = limits
        self._resolved: dict[tuple[Labels, int], Tuple] = {}
        self._spans: dict[str, dict[str, list[tuple[int, int | None]]]] = {}
        self._open: dict[str, int] = {}
        self.overflowed: list[str] = []
        """Labels that had no room, one entry a new value; emptied by the writer."""

    def forget(self) -> None:
        """Drop what was cached, because its transaction was rolled back."""
        self._resolved.clear()
        self._spans.clear()
        self._open.clear()
        self.overflowed.clear()

    def exported(self, labels: Labels, booked: int) -> Tuple:
        """The labels under which a posting of that booking day is exported."""
        key = (labels, booked)
        found = self._resolved.get(key)
        if found is None:
            if len(self._resolved) > 200_000:
                self._resolved.clear()
            found = self._resolved[key] = self._resolve(labels, booked)
        return found

    def enable(self, extra_labels: Sequence[str], booked: int) -> None:
        """Export exactly these optional labels; a change holds from the next booking day.

        On a ledger without any posting it holds from that day.
        """
        fresh = self._connection.execute("SELECT 1 FROM cell LIMIT 1").fetchone() is None
        start = booked if fresh else booked + 1
        for label in OPTIONAL:
            enabled = self._covers(_ENABLED, label, start)
            if label in extra_labels and not enabled:
                self._admit(_ENABLED, label, start)
            elif label not in extra_labels and enabled:
                self._end(_ENABLED, label, start)

    def admit_first(self, label: str, values: Sequence[str], booked: int) -> None:
        """Admit configured and budgeted values, over the limit if need be."""
        for value in values:
            if not self._covers(label, value, booked):
                full = self._covers(_FULL, label, booked)
                self._admit(label, value, booked + 1 if full else booked)

    def exports(self, label: str, booked: int) -> bool:
        """Whether series carry this label at all."""
        return label not in OPTIONAL or self._covers(_ENABLED, label, booked)

    def has(self, label: str, value: str, booked: int) -> bool:
        """Whether a value has series of its own, or will have them from a later day."""
        spans = self._of(label).get(value, [])
        return _live(spans, booked)

    def release(self, label: str, value: str, booked: int) -> bool:
        """Take a value's series away from the next booking day on; an operator's act."""
        if not self._covers(label, value, booked):
            return False
        self._end(label, value, booked + 1)
        return True

    def _resolve(self, labels: Labels, booked: int) -> Tuple:
        values: list[str] = []
        for name in EXPORTED:
            value = str(getattr(labels, name))
            if not self.exports(name, booked):
                value = ""
            values.append(self._value(name, value, booked))
        if self._has_room(_TUPLE, _text(values), self._limits.tuples, booked):
            return tuple(values)
        values[_TENANT] = OTHER
        if self._has_room(_TUPLE, _text(values), self._limits.tuples, booked):
            return tuple(values)
        values[_MODEL] = OTHER
        if self._admitting and not self._covers(_TUPLE, _text(values), booked):
            # The last resort is always there: providers x categories x environments.
            self._admit(_TUPLE, _text(values), booked)
        return tuple(values)

    def _value(self, label: str, value: str, booked: int) -> str:
        if value == "" or label == "category":
            return value  # the categories are a closed list
        limit = self._limits.per_label.get(label, _UNLIMITED)
        if self._has_room(label, value, limit, booked):
            return value
        return OTHER

    def _has_room(self, label: str, value: str, limit: int, booked: int) -> bool:
        if self._covers(label, value, booked):
            return True
        if not self._admitting:
            return False
        if _is_open(self._of(label).get(value, [])):
            return False  # it was in `_other` and waits for its day
        if self._open[label] < limit and not self._covers(_FULL, label, booked):
            self._admit(label, value, booked)
            return True
        if not self._covers(_FULL, label, booked):
            self._admit(_FULL, label, booked)
            self._end(_FULL, label, booked + 1)
        self.overflowed.append(label)
        return False

    def _of(self, label: str) -> dict[str, list[tuple[int, int | None]]]:
        spans = self._spans.get(label)
        if spans is None:
            spans = self._spans[label] = {}
            for value, start, end in self._connection.execute(
                "SELECT value, from_booked, until_booked FROM admitted WHERE label = ?", (label,)
            ):
                spans.setdefault(value, []).append((start, end))
            self._open[label] = sum(_is_open(found) for found in spans.values())
        return spans

    def _covers(self, label: str, value: str, booked: int) -> bool:
        return any(
            start <= booked and (end is None or booked < end)
            for start, end in self._of(label).get(value, ())
        )

    def _admit(self, label: str, value: str, start: int) -> None:
        spans = self._of(label).setdefault(value, [])
        if _is_open(spans):
            return
        self._connection.execute(
            "INSERT OR REPLACE INTO admitted VALUES (?, ?, ?, NULL)", (label, value, start)
        )
        spans[:] = [span for span in spans if span[0] != start]
        spans.append((start, None))
        self._open[label] += 1

    def _end(self, label: str, value: str, end: int) -> None:
        self._connection.execute(
            "UPDATE admitted SET until_booked = ? "
            "WHERE label = ? AND value = ? AND until_booked IS NULL",
            (end, label, value),
        )
        spans = self._of(label)[value]
        self._open[label] -= _is_open(spans)
        spans[:] = [(s, end if e is None else e) for s, e in spans]


def _is_open(spans: list[tuple[int, int | None]]) -> bool:
    return any(end is None for _, end in spans)


def _live(spans: list[tuple[int, int | None]], booked: int) -> bool:
    return any(end is None or booked < end for _, end in spans)


def _text(values: Sequence[str]) -> str:
    return msgspec.json.encode(list(values)).decode()
