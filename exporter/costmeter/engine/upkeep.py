"""The regular jobs of a ledger; each is short transactions on the writer's queue."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from costmeter.config import Config
from costmeter.engine.jobs import Job
from costmeter.engine.schedule import Every, daily
from costmeter.gpu.meter import GpuMeter
from costmeter.ledger import upkeep
from costmeter.ledger.amend import note_prices
from costmeter.ledger.store import Checkpointer
from costmeter.ledger.writer import Writer

#: Events in one repricing transaction: short, so that ingest hardly notices.
_REPRICE_AT_ONCE = 500
#: No job may keep the others, or a shutdown, waiting for longer.
_REPRICE_SECONDS = 10
_GPU_SEGMENTS_AT_ONCE = 500
_CHECKPOINT_SECONDS = 2


def regular_jobs(
    config: Config,
    writer: Writer,
    checkpointer: Checkpointer,
    meter: GpuMeter | None,
    assess_budgets: Callable[[], str],
) -> Sequence[Job]:
    """In the order in which they run when several are due."""
    jobs = config.jobs
    zone = jobs.timezone or config.ledger.reporting_timezone
    found = [
        Job(
            "release-clock",
            Every(jobs.release_clock_seconds),
            lambda: tick(writer),
            "moves the counters' clock and the heartbeat",
        ),
        Job(
            "checkpoint",
            Every(_CHECKPOINT_SECONDS),
            lambda: checkpoint(checkpointer),
            "moves the write-ahead log into the database",
        ),
        Job(
            "budgets",
            Every(jobs.budgets_seconds),
            assess_budgets,
            "looks at every budget's spend and projection",
        ),
        Job(
            "repricing",
            Every(jobs.repricing_seconds),
            lambda: reprice(writer, _REPRICE_SECONDS),
            "prices calls that had no known price, or another one than now",
        ),
        Job(
            "series",
            Every(3_600),
            lambda: promote(writer),
            "gives values in _other that grew series of their own",
        ),
        Job(
            "clean-up", daily(jobs.cleanup_at, zone), lambda: clean_up(writer), "tidies the ledger"
        ),
    ]
    if meter is not None:
        found.insert(
            1, Job("gpu-time", Every(1), lambda: book_gpu_time(writer, meter), "books GPU time")
        )
    return found


def tick(writer: Writer) -> str:
    writer.run(lambda: None).result()
    return ""


def checkpoint(checkpointer: Checkpointer) -> str:
    checkpointer.run()
    return ""


def reprice(writer: Writer, longest_seconds: float = math.inf) -> str:
    """Book the difference for every event that the prices in force say otherwise.

    It goes on with the next call where it had to stop, and does nothing once the ledger
    has followed these prices: a price only appears with another book.
    """
    if writer.run(lambda: note_prices(writer.booking)).result() is None:
        return ""
    began = time.monotonic()
    after: int | None = 0
    priced = repriced = 0
    # First those that nobody sees in any figure yet; but they are not to take all the time.
    while after is not None and time.monotonic() - began < longest_seconds / 2:
        start = after
        done, after = writer.run(
            lambda start=start: writer.amendments.reprice_unpriced(start, _REPRICE_AT_ONCE)  # type: ignore[misc]
        ).result()
        priced += done
    left = True
    while left and time.monotonic() - began < longest_seconds:
        done, left = writer.run(
            lambda: writer.amendments.reprice_changed(_REPRICE_AT_ONCE)
        ).result()
        repriced += done
    if not priced and not repriced:
        return ""
    said = f"{priced} unpriced events got a price, {repriced} events got another one"
    _audit(writer, "reprice", f"{said}, by price book {writer.booking.prices.revision}")
    return said


def promote(writer: Writer) -> str:
    found = writer.run(lambda: upkeep.promote(writer.booking)).result()
    return ", ".join(f"{label} {value} has series from tomorrow on" for label, value in found)


def clean_up(writer: Writer) -> str:
    count = writer.run(lambda: upkeep.clean_up(writer.booking)).result()
    return f"{count} ended releases deleted" if count else ""


def book_gpu_time(writer: Writer, meter: GpuMeter) -> str:
    while segments := meter.drain(_GPU_SEGMENTS_AT_ONCE):
        writer.submit(segments).result()
        meter.confirm(len(segments))
    return ""


def _audit(writer: Writer, kind: str, text: str) -> None:
    writer.run(lambda: upkeep.audit(writer.booking, kind, text)).result()
