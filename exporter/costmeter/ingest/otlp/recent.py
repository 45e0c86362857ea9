"""Spans that stood around a call: what wraps a call must not be booked beside it."""

from __future__ import annotations

from collections.abc import Sequence

from costmeter.ingest.owner import Caller

#: Parents remembered for each sender: the last half to all of it. 100 bytes each.
_HALF = 10_000
#: Senders remembered; on overflow all are forgotten.
_SENDERS = 100


class Recent:
    """Remembers the parents of calls, so that a parent that arrives later is recognised.

    A parent ends after its child, so it arrives in the same body or soon after. Safe to use
    from several threads: at worst a parent is forgotten early.
    """

    def __init__(self) -> None:
        self._known: dict[Caller, tuple[set[bytes], set[bytes]]] = {}

    def around(
        self, caller: Caller, spans: Sequence[bytes], parents: Sequence[bytes]
    ) -> frozenset[bytes]:
        """Those of the spans (calls, too) that are the parent of a call of this sender."""
        if len(self._known) > _SENDERS:
            self._known.clear()
        new, old = self._known.setdefault(caller, (set(), set()))
        new.update(parents)
        new.discard(b"")
        around = (new | old if old else new).intersection(spans)
        if len(new) > _HALF:
            self._known[caller] = (set(), new)
        return frozenset(around)
