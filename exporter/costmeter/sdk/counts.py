"""What became of every event: nothing is lost without being counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import RLock
from types import MappingProxyType

#: Fields of refusals that are counted apart; the rest is "other".
_MOST_REASONS = 50
_NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of one process since its start, or since it was forked.

    Every event is in exactly one place, so at rest
    `tracked + adopted == accepted + duplicate + observed + sum(rejected) + sum(dropped) +
    queued + spooled`. `rejected` is by the field that the server refused, or `http 400` and
    the like for a whole body; `dropped` by reason: queue_full, invalid, too_old, exit,
    closed, damaged, unreadable.
    """

    tracked: int = 0
    """Events that the application gave."""
    adopted: int = 0
    """Events found in the spool, left by processes that ended."""
    queued: int = 0
    """In memory now."""
    spooled: int = 0
    """On the disk now."""
    sent: int = 0
    """Events in requests that were answered, each time that they were sent."""
    accepted: int = 0
    duplicate: int = 0
    observed: int = 0
    """Compared but not booked: another feed books them."""
    retries: int = 0
    """Requests that had to be sent again."""
    rejected: Mapping[str, int] = field(default_factory=lambda: _NONE)
    dropped: Mapping[str, int] = field(default_factory=lambda: _NONE)

    @property
    def lost(self) -> int:
        """Events that the server never booked: rejected or dropped."""
        return sum(self.rejected.values()) + sum(self.dropped.values())


class Books:
    """The counters behind `Stats`, shared by the application's threads and the sender's."""

    def __init__(self) -> None:
        # Reentrant: a signal handler may track while its thread is in here.
        self._lock = RLock()
        self._tracked = self._adopted = 0
        self._accepted = self._duplicate = self._observed = 0
        self._sent = self._retries = self._settled = 0
        self._rejected: dict[str, int] = {}
        self._dropped: dict[str, int] = {}

    def take(self, events: int) -> None:
        """Events are about to leave the queue that `track` fills."""
        with self._lock:
            self._tracked += events

    def adopt(self, events: int) -> None:
        """Events of an ended process came in from the disk."""
        with self._lock:
            self._adopted += events

    def answered(self, accepted: int, duplicate: int, observed: int) -> None:
        with self._lock:
            self._accepted += accepted
            self._duplicate += duplicate
            self._observed += observed
            self._settled += accepted + duplicate + observed

    def sent(self, events: int) -> None:
        with self._lock:
            self._sent += events

    def retry(self) -> None:
        with self._lock:
            self._retries += 1

    def reject(self, reason: str, events: int = 1) -> None:
        with self._lock:
            if reason not in self._rejected and len(self._rejected) >= _MOST_REASONS:
                reason = "other"
            self._rejected[reason] = self._rejected.get(reason, 0) + events
            self._settled += events

    def drop(self, reason: str, events: int = 1) -> None:
        """Events that were taken before are lost."""
        with self._lock:
            self._dropped[reason] = self._dropped.get(reason, 0) + events
            self._settled += events

    def refuse(self, reason: str) -> None:
        """An event never got into the queue."""
        with self._lock:
            self._tracked += 1
            self.drop(reason)

    @property
    def settled(self) -> int:
        return self._settled

    def stats(self, waiting: int, spooled: int) -> Stats:
        """`waiting` events are in the queue that `track` fills."""
        with self._lock:
            held = self._tracked + self._adopted - self._settled
            return Stats(
                tracked=self._tracked + waiting,
                adopted=self._adopted,
                queued=max(0, held + waiting - spooled),
                spooled=spooled,
                sent=self._sent,
                accepted=self._accepted,
                duplicate=self._duplicate,
                observed=self._observed,
                retries=self._retries,
                rejected=MappingProxyType(dict(self._rejected)),
                dropped=MappingProxyType(dict(self._dropped)),
            )
