"""The way into the ledger for whoever has usage to book, and the answers it gives."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from enum import IntEnum
from typing import Protocol

from costmeter.model import Correction, Usage


class Verdict(IntEnum):
    """What became of one event; acknowledged only after the commit."""

    ACCEPTED = 0
    DUPLICATE = 1
    OBSERVED = 2
    EXCESS = 3
    """GPU time over 3600 s an hour for one GPU: set aside, not booked."""
    UNKNOWN = 4
    """A correction that names no booked event."""


class Busy(Exception):
    """The queue is full; nothing of the batch was taken."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"the ledger is busy; send again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class Unavailable(Exception):
    """The ledger cannot write; the text says why in plain words. Nothing was booked."""


class Overfull(Unavailable):
    """The batch would take the ledger's sums beyond what they can hold."""


class Door(Protocol):
    """Takes batches; a future resolves when the batch is durable, or raises Unavailable."""

    def submit(self, usages: Sequence[Usage]) -> Future[Sequence[Verdict]]:
        """Queue a batch; raises Busy at once when there is no room."""
        ...

    def correct(self, corrections: Sequence[Correction]) -> Future[Sequence[Verdict]]:
        """Queue corrections; raises Busy at once when there is no room."""
        ...
