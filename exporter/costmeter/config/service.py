"""Settings of the server: what it takes in, at which prices, and what it does regularly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Struct, field

from costmeter.config.kinds import ReadFile, Whole, WorkPath, Zone
from costmeter.config.otlp import OtlpAttributes
from costmeter.config.records import ListOf, Section
from costmeter.config.spec import Setting
from costmeter.config.values import LABEL, TIME_OF_DAY


class Ingest(Struct, frozen=True):
    tokens_file: Annotated[
        Path | None,
        Setting(
            ReadFile(optional=True),
            "Who may send usage: a file of hashed tokens. Without it only this machine may.",
        ),
    ] = None
    max_body_bytes: Annotated[
        int,
        Setting(Whole(1024, 1073741824), "The largest body, after decompression.", unit="bytes"),
    ] = 10485760
    max_events: Annotated[int, Setting(Whole(1, 1000000), "The most events in one body.")] = 10000
    queue_events: Annotated[
        int,
        Setting(
            Whole(1, 10000000),
            "Events that may wait for their commit; beyond it senders are told to come back.",
        ),
    ] = 100000
    retry_after_seconds: Annotated[
        int,
        Setting(
            Whole(1, 3600), "When senders that were turned away shall come back.", unit="seconds"
        ),
    ] = 1
    pseudonym_key_file: Annotated[
        Path | None,
        Setting(
            ReadFile(optional=True),
            "A file with a secret key. With it, ids of users are stored as keyed hashes only.",
        ),
    ] = None
    otlp_attributes: Annotated[
        OtlpAttributes,
        Setting(
            Section(OtlpAttributes),
            "Which attribute of OTLP spans and data points, or of their resource, says what.",
        ),
    ] = field(default_factory=OtlpAttributes)
    otlp_exclusive_input: Annotated[
        tuple[str, ...],
        Setting(
            ListOf(LABEL, "names of instrumentation scopes"),
            "Instrumentations whose input tokens leave out the cached ones, against the "
            "conventions.",
        ),
    ] = ()


class Prices(Struct, frozen=True):
    files: Annotated[
        tuple[Path, ...],
        Setting(
            ListOf(ReadFile(), "files"),
            "Price files that add to the built-in prices and override them.",
        ),
    ] = ()
    updates: Annotated[
        Path,
        Setting(
            WorkPath(),
            "The folder in which `costmeter prices update` puts newer catalogues. A relative "
            "path is meant from the directory the process was started in.",
        ),
    ] = Path("costmeter-data/prices")


class Jobs(Struct, frozen=True):
    release_clock_seconds: Annotated[
        int, Setting(Whole(1, 10), "How often the counters' clock moves on.", unit="seconds")
    ] = 2
    budgets_seconds: Annotated[
        int, Setting(Whole(1, 3600), "How often budgets are looked at.", unit="seconds")
    ] = 60
    repricing_seconds: Annotated[
        int,
        Setting(
            Whole(1, 86400),
            "How often repricing goes on after prices changed; it works a few seconds at a time.",
            unit="seconds",
        ),
    ] = 300
    cleanup_at: Annotated[str, Setting(TIME_OF_DAY, "When the ledger is tidied up every day.")] = (
        "04:00"
    )
    timezone: Annotated[
        str,
        Setting(
            Zone(empty=True),
            "Where that time of day is meant. Empty: the ledger's reporting time zone.",
        ),
    ] = ""
