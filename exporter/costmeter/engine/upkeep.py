"""The regular jobs of a ledger; each is short transactions on the writer's queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from costmeter.config import Config
from costmeter.engine import anomalies, erasure, forecasting, plausible, repricing
from costmeter.engine.gpus import Gpus
from costmeter.engine.jobs import Job
from costmeter.engine.schedule import Every, daily
from costmeter.ledger import upkeep
from costmeter.ledger.commitments import Commitments
from costmeter.ledger.settle.settlements import Settlements
from costmeter.ledger.store import Checkpointer
from costmeter.ledger.writer import Writer

#: No job may keep the others, or a shutdown, waiting for longer.
_REPRICE_SECONDS = 10
_CHECKPOINT_SECONDS = 2
_SETTLE_SECONDS = 60
_COMMIT_SECONDS = 600
_PLAUSIBLE_SECONDS = 60
_FORECAST_RETRY_SECONDS = 900


def regular_jobs(
    config: Config,
    writer: Writer,
    checkpointer: Checkpointer,
    gpus: Gpus | None,
    settlements: Settlements,
    past: repricing.Past,
    assess_budgets: Callable[[], str],
    forecasts: forecasting.Forecasting,
    detecting: anomalies.Detecting,
    plausibility: plausible.Plausibility,
) -> Sequence[Job]:
    """In the order in which they run when several are due."""
    jobs = config.jobs
    zone = jobs.timezone or config.ledger.reporting_timezone
    commitments = Commitments(writer.booking)
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
            lambda: repricing.reprice(writer, _REPRICE_SECONDS),
            "prices calls that had no known price, or another one than now",
        ),
        Job(
            repricing.JOB,
            Every(3_600),
            past.run,
            "goes through the past for whoever asked with 'costmeter reprice'",
        ),
        Job(
            "commitments",
            Every(_COMMIT_SECONDS),
            lambda: commit(writer, commitments),
            "posts what contracts' commitments make of a month",
        ),
        Job(
            "settlement",
            Every(_SETTLE_SECONDS),
            lambda: settle(writer, settlements),
            "settles days again whose meters moved after their bill",
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
        Job(
            erasure.JOB,
            Every(3_600),
            lambda: erasure.erase_users(writer),
            "erases users that 'costmeter erase-user' named",
        ),
    ]
    if config.forecast.enabled:
        found.append(
            Job(
                forecasting.JOB,
                daily(config.forecast.at, zone),
                forecasts.run,
                "forecasts every scope's spend, and scores yesterday's forecasts",
                beside=True,
                retry_seconds=_FORECAST_RETRY_SECONDS,
            )
        )
    if config.anomalies.enabled:
        found += [
            Job(
                plausible.JOB,
                Every(_PLAUSIBLE_SECONDS),
                plausibility.run,
                "asks whether the amounts of new records can be right",
                beside=True,
            ),
            Job(
                anomalies.JOB,
                Every(3_600),
                detecting.run,
                "looks for spend that is not as expected",
                beside=True,
                retry_seconds=_FORECAST_RETRY_SECONDS,
            ),
        ]
    if gpus is not None:
        found.insert(1, Job("gpu-time", Every(1), lambda: gpus.book(writer), "books GPU time"))
    return found


def tick(writer: Writer) -> str:
    writer.run(lambda: None).result()
    return ""


def settle(writer: Writer, settlements: Settlements) -> str:
    """Settle what is due, a few days in each transaction."""
    settled, more = 0, True
    while more:
        done, more = writer.run(settlements.settle_due).result()
        settled += done
    return f"{settled} days settled again" if settled else ""


def checkpoint(checkpointer: Checkpointer) -> str:
    checkpointer.run()
    return ""


def commit(writer: Writer, commitments: Commitments) -> str:
    """Bring the months of commitments to what they are worth."""
    # A transaction for each month, so that ingest goes on in between.
    count = 0
    for back in range(3):
        count += writer.run(partial(commitments.post, back)).result()
    return f"{count} postings of commitments" if count else ""


def promote(writer: Writer) -> str:
    found = writer.run(lambda: upkeep.promote(writer.booking)).result()
    return ", ".join(f"{label} {value} has series from tomorrow on" for label, value in found)


def clean_up(writer: Writer) -> str:
    count = writer.run(lambda: upkeep.clean_up(writer.booking)).result()
    return f"{count} ended releases deleted" if count else ""
