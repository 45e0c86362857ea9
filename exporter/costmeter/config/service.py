"""Settings of the running process: what it serves, takes in, samples, does and logs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from costmeter.config.kinds import Choice, ReadFile, Whole, Zone
from costmeter.config.records import ListOf
from costmeter.config.spec import Setting
from costmeter.config.values import ADDRESS, LABEL, OPTIONAL_LABEL, TIME_OF_DAY


@dataclass(frozen=True, slots=True)
class Web:
    listen_address: Annotated[
        str,
        Setting(
            ADDRESS,
            "Where the server listens. Without tokens, usage is taken from this machine only.",
            flag="--web.listen-address",
        ),
    ] = "127.0.0.1:9952"
    config_file: Annotated[
        Path | None,
        Setting(
            ReadFile(optional=True),
            "TLS and basic authentication for whoever reads, in the exporter-toolkit's format.",
            flag="--web.config.file",
        ),
    ] = None

    @property
    def host(self) -> str:
        """The host to bind; "" means every interface."""
        return self.listen_address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen_address.rpartition(":")[2])


@dataclass(frozen=True, slots=True)
class Ingest:
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


@dataclass(frozen=True, slots=True)
class Prices:
    files: Annotated[
        tuple[Path, ...],
        Setting(
            ListOf(ReadFile(), "files"),
            "Price files that add to the built-in prices and override them.",
        ),
    ] = ()


@dataclass(frozen=True, slots=True)
class Gpu:
    enabled: Annotated[
        Literal["auto", "true", "false"],
        Setting(
            Choice("auto", "true", "false"),
            "Whether this machine's GPUs are sampled; auto does when the driver is there.",
        ),
    ] = "auto"
    sample_seconds: Annotated[
        int, Setting(Whole(1, 60), "Time between two samples.", unit="seconds")
    ] = 1
    segment_seconds: Annotated[
        int,
        Setting(
            Whole(1, 300),
            "The longest that GPU time is gathered before it is booked.",
            unit="seconds",
        ),
    ] = 60
    provider: Annotated[str, Setting(LABEL, "Provider that GPU time is booked under.")] = "onprem"
    region: Annotated[str, Setting(OPTIONAL_LABEL, "Region of this machine, for the price.")] = ""
    instance_type: Annotated[
        str, Setting(OPTIONAL_LABEL, "Instance type of this machine, for the price.")
    ] = ""
    purchase: Annotated[
        Literal["on_demand", "spot", "reserved"],
        Setting(
            Choice("on_demand", "spot", "reserved"), "How this machine was bought, for the price."
        ),
    ] = "on_demand"
    tenant_id: Annotated[str, Setting(LABEL, "Tenant that GPU time is booked under.")] = (
        "unattributed"
    )
    environment: Annotated[
        str, Setting(OPTIONAL_LABEL, "Environment that GPU time is booked under.")
    ] = ""
    purpose: Annotated[str, Setting(OPTIONAL_LABEL, "Purpose that GPU time is booked under.")] = ""


@dataclass(frozen=True, slots=True)
class Jobs:
    release_clock_seconds: Annotated[
        int, Setting(Whole(1, 10), "How often the counters' clock moves on.", unit="seconds")
    ] = 1
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


@dataclass(frozen=True, slots=True)
class Log:
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Setting(
            Choice("debug", "info", "warning", "error"),
            "The least that is logged.",
            flag="--log.level",
        ),
    ] = "info"
    format: Annotated[
        Literal["logfmt", "json"],
        Setting(Choice("logfmt", "json"), "How a line of the log is written.", flag="--log.format"),
    ] = "logfmt"
