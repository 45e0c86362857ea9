"""Usage that a source restates: pieces and corrections instead of edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from costmeter.ledger.amend import Amendments
from costmeter.ledger.booking import Booking
from costmeter.ledger.door import Verdict
from costmeter.model import MS_PER_DAY, Correction, Labels, Usage
from costmeter.pricing.rates import FEE

_encode = msgspec.json.Encoder(order="sorted").encode


class Memory(Protocol):
    """What was taken before, by kind and name."""

    def known(self, kind: str, since_ms: int, until_ms: int) -> dict[str, Any]: ...

    def remember(self, kind: str, name: str, value: Any, at_ms: int) -> None: ...


class Counted(NamedTuple):
    """How many records were new, the same as before, restated, and no longer there."""

    new: int = 0
    same: int = 0
    restated: int = 0
    gone: int = 0


class UsageStream:
    """The usage of one delivery on its way into the journal."""

    def __init__(
        self,
        booking: Booking,
        memory: Memory,
        source: str,
        stream: str,
        *,
        generation: int,
        first_ms: int,
    ) -> None:
        """`first_ms` is when the source was set up, `generation` numbers its polls."""
        self._booking = booking
        self._amendments = Amendments(booking)
        self._memory = memory
        self._source = source
        self._generation = generation
        self._kind = f"polled:{source}:{stream}"
        # What lies before the source was set up is shown in gauges, never in counters.
        self._history_before_ms = first_ms - first_ms % MS_PER_DAY
        self._pieces: list[Usage] = []
        self._corrections: list[Correction] = []

    def book(self, usages: Sequence[Usage], since_ms: int, until_ms: int) -> Counted:
        """Book what has changed of all usage within [since, until)."""
        known = self._memory.known(self._kind, since_ms, until_ms)
        new = same = restated = gone = 0
        for usage in usages:
            before = known.pop(entry_name(usage.at_ms, usage.event_id), None)
            if not self._change(usage, before):
                same += 1
            elif before is None:
                new += 1
            else:
                restated += 1
        for said in known.values():
            usage = Usage(said["id"], said["at"], self._source, Labels(*said["labels"]), {})
            gone += self._change(usage, said)
        self._submit()
        return Counted(new, same, restated, gone)

    def _change(self, usage: Usage, before: Mapping[str, Any] | None) -> bool:
        """Plan what one bucket's group changes; whether that is anything."""
        pieces: list[dict[str, int]] = [] if before is None else before["pieces"]
        old = None if before is None else Labels(*before["labels"])
        # What is booked stays whose it was: other labels now are no restatement.
        labels = old if old is not None and pieces else usage.labels
        usage = usage._replace(feed=self._source, labels=labels)
        scope = self._booking.dims.of(labels).scope
        said: dict[str, Any] = {"id": usage.event_id, "at": usage.at_ms, "labels": labels}
        if pieces or scope.detail_from == self._source:
            said["pieces"] = self._differ(usage, usage.quantities, pieces)
        else:
            said |= {"pieces": [], "observed": dict(usage.quantities)}
        if before is not None and _encode(said) == _encode(before):
            return False
        if before is not None and "observed" in before:
            self._unobserve(usage._replace(labels=old or labels))
        if "observed" in said and usage.quantities:
            self._observe(usage)
        name = entry_name(usage.at_ms, usage.event_id)
        self._memory.remember(self._kind, name, said, usage.at_ms)
        return True

    def _differ(
        self,
        usage: Usage,
        wanted: Mapping[str, int],
        pieces: Sequence[Mapping[str, int]],
    ) -> list[dict[str, int]]:
        """Pieces that together are `wanted`; plans the pieces and corrections for that."""
        out = [dict(piece) for piece in pieces]
        names = {*wanted, *(name for piece in out for name in piece)}
        change = {
            name: wanted.get(name, 0) - sum(piece.get(name, 0) for piece in out) for name in names
        }
        for number in range(len(out) - 1, -1, -1):
            piece = dict(out[number])
            for name, left in change.items():
                taken = min(-left, piece.get(name, 0))
                if left < 0 < taken:
                    piece[name] -= taken
                    change[name] += taken
            if piece != out[number]:
                out[number] = {name: n for name, n in piece.items() if n or name == FEE}
                self._corrections.append(
                    Correction(
                        f"{self._event_id(usage, number)}@{self._generation}",
                        usage.labels.tenant_id,
                        usage.at_ms // MS_PER_DAY,
                        self._event_id(usage, number),
                        {},
                        out[number],
                    )
                )
        more = {name: n for name, n in change.items() if n > 0}
        if more:
            if FEE in wanted or not _long_calls(usage):
                # A piece is a part of many calls; 0 says that nobody knows of how many.
                more.setdefault(FEE, 0)
            piece_id = self._event_id(usage, len(out))
            self._pieces.append(usage._replace(event_id=piece_id, quantities=more))
            out.append(more)
        return out

    def _event_id(self, usage: Usage, number: int) -> str:
        return f"f:{self._source}:{usage.event_id}#{number}"

    def _observe(self, usage: Usage) -> None:
        dim = self._booking.dims.of(usage.labels)
        text = _encode(dict(usage.quantities)).decode()
        self._booking.connection.execute(
            "INSERT OR REPLACE INTO observed_event VALUES (?, ?, ?, ?, ?, ?)",
            (*self._observed_key(usage), dim.dim, text),
        )

    def _unobserve(self, usage: Usage) -> None:
        self._booking.connection.execute(
            "DELETE FROM observed_event WHERE org = ? AND day = ? AND feed = ? AND id = ?",
            self._observed_key(usage),
        )

    def _observed_key(self, usage: Usage) -> tuple[int, int, str, str]:
        org = self._booking.dims.of(usage.labels).org
        event_id = f"f:{self._source}:{usage.event_id}"
        return org, usage.at_ms // MS_PER_DAY, self._source, event_id

    def _submit(self) -> None:
        for verdict in self._amendments.correct(self._corrections):
            if verdict is not Verdict.ACCEPTED:
                raise LookupError(f"usage of {self._source} that was booked is not to be found")
        for history in (True, False):
            batch = [
                piece
                for piece in self._pieces
                if (piece.at_ms < self._history_before_ms) is history
            ]
            if batch:
                self._booking.usages(batch, history=history)


def _long_calls(usage: Usage) -> bool:
    """Whether the provider itself says that each of these calls is a large one.

    Anthropic groups calls by the range of their context ("0-200k", "200k-1M") and does not
    count them: the sum is then above the threshold because each of them is.
    """
    if '"context_window"' not in usage.detail:
        return False
    window = msgspec.json.decode(usage.detail).get("context_window")
    return isinstance(window, str) and not window.startswith("0")


def entry_name(at_ms: int, rest: str) -> str:
    """Names sort by time, so that a stretch of time is a stretch of names."""
    return f"{at_ms // 1000:012d} {rest}" if rest else f"{at_ms // 1000:012d}"
