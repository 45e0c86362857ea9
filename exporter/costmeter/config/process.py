"""Settings that every process has: where it listens, and what it logs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from costmeter.config.kinds import Choice, ReadFile
from costmeter.config.spec import Setting
from costmeter.config.values import ADDRESS


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
