"""The job `erase-user`: what somebody asked to be erased, through the one writer."""

from __future__ import annotations

from costmeter.ledger import erase
from costmeter.ledger.store import LedgerError
from costmeter.ledger.writer import Writer

JOB = "erase-user"


def erase_users(writer: Writer) -> str:
    """Erase whoever was asked for; what was done, "" when nobody was.

    A request stays until the files are clean too: after a crash, or beside a long backup,
    the next run goes on with what is left. Raises LedgerError when something is.
    """
    booking = writer.booking
    said, left = [], []
    for asked in writer.run(lambda: erase.pending(booking.connection)).result():
        done = writer.run(lambda asked=asked: erase.erase(booking, asked)).result()  # type: ignore[misc]
        outcome = erase.Outcome(
            done.users,
            done.events,
            done.days,
            erase.scrub(booking.store.path, rebuild=asked.rebuild),
        )
        if outcome.left and asked.rebuild:
            left.append(outcome.left)
            continue
        writer.run(
            lambda asked=asked, outcome=outcome: erase.answer(booking, asked, outcome)  # type: ignore[misc]
        ).result()
        said.append(f"{outcome.users} users erased from {outcome.events} events")
    if left:
        raise LedgerError(left[0])
    return ", ".join(said)
