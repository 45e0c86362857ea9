"""The regular jobs of a ledger; each is short transactions on the writer's queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from costmeter.config import Config
from costmeter.engine.jobs import Job
from costmeter.engine.schedule import Every, daily
from costmeter.gpu.meter import GpuMeter
from costmeter.ledger import upkeep
from costmeter.ledger.store import Checkpointer
from costmeter.ledger.writer import Writer

#: Events in one repricing transaction: short, so that ingest hardly notices.
_REPRICE_AT_ONCE = 500
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
            lambda: reprice(writer),
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


def reprice(writer: Writer) -> str:
    """Book the difference for every event that the prices in force say otherwise."""
    return ", ".join(filter(None, (_reprice_unpriced(writer), _reprice_changed(writer))))


def _reprice_unpriced(writer: Writer) -> str:
    after: int | None = 0
    count = 0
    while after is not None:
        start = after
        done, after = writer.run(
            lambda start=start: writer.amendments.reprice_unpriced(start, _REPRICE_AT_ONCE)  # type: ignore[misc]
        ).result()
        count += done
    if count:
        _audit(writer, "reprice", f"{count} unpriced events got a price")
    return f"{count} events got a price" if count else ""


def _reprice_changed(writer: Writer) -> str:
    left, count = True, 0
    while left:
        done, left = writer.run(
            lambda: writer.amendments.reprice_changed(_REPRICE_AT_ONCE)
        ).result()
        count += done
    if count:
        revision = writer.booking.prices.revision
        _audit(writer, "reprice", f"{count} events repriced by book {revision}")
    return f"{count} events repriced" if count else ""


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
