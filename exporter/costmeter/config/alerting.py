"""The Alertmanager that is told of budgets which no metric shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Struct

from costmeter.config.kinds import Kind, Pattern, ReadFile, Whole
from costmeter.config.spec import Setting
from costmeter.config.values import NAME

_URLS: Kind[str] = Pattern(
    r"https?://[A-Za-z0-9._:\[\]/-]{1,255}( *, *https?://[A-Za-z0-9._:\[\]/-]{1,255})*",
    "an address",
    "it as http://alertmanager:9093; several with commas between them",
    empty=True,
)


class AlertmanagerSettings(Struct, frozen=True):
    url: Annotated[
        str,
        Setting(
            _URLS,
            "Where alerts of budgets go that are too many to be exported. Several with commas: "
            "each is told. Empty: nowhere.",
        ),
    ] = ""
    token_file: Annotated[
        Path | None,
        Setting(ReadFile(optional=True), "A file with a Bearer token to show there."),
    ] = None
    resend_seconds: Annotated[
        int,
        Setting(
            Whole(5, 600),
            "How often what fires is sent again; it ends by itself after four times that.",
            unit="seconds",
        ),
    ] = 60
    job: Annotated[
        str, Setting(NAME, "The label job of these alerts: the exporter's name in Prometheus.")
    ] = "costmeter"

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.url.split(",") if part.strip())
