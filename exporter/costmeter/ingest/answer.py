"""What the sender is told: the same shape for events and for corrections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from costmeter.ingest.events import Batch, Booked
from costmeter.ingest.refusal import Rejection
from costmeter.ledger.door import Verdict

#: Verdicts that come back as a rejection: reason and metric code.
_REFUSALS = {
    Verdict.EXCESS: ("more GPU time than an hour holds; set aside, not booked", "excess"),
    Verdict.UNKNOWN: (
        "no such event: nothing is booked under this tenant, day and id",
        "unknown_event",
    ),
}


class Outcome(NamedTuple):
    """What became of a body: how many were booked, known before, compared, and refused."""

    accepted: int
    duplicate: int
    observed: int
    rejections: Sequence[Rejection]

    def json(self) -> bytes:
        """The body of the answer."""
        said = {
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "observed": self.observed,
            "rejected": [rejection.answer() for rejection in self.rejections],
        }
        return msgspec.json.encode(said)


def outcome(batch: Batch[Booked], verdicts: Sequence[Verdict]) -> Outcome:
    """The reader's refusals and the ledger's verdicts together, in the order of the body.

    An event that became several pieces counts once, with the verdict of its first.
    """
    places = batch.places
    if len(places) != len(set(places)):
        first = dict(zip(reversed(places), reversed(verdicts), strict=True))
        places, verdicts = list(first), list(first.values())
    if verdicts.count(Verdict.ACCEPTED) == len(verdicts):
        return Outcome(len(verdicts), 0, 0, sorted(batch.rejections))
    rejections = list(batch.rejections)
    for verdict, (reason, code) in _REFUSALS.items():
        if verdict in verdicts:
            rejections.extend(
                Rejection(place, "", reason, False, code)
                for place, found in zip(places, verdicts, strict=True)
                if found == verdict
            )
    return Outcome(
        verdicts.count(Verdict.ACCEPTED),
        verdicts.count(Verdict.DUPLICATE),
        verdicts.count(Verdict.OBSERVED),
        sorted(rejections),
    )
