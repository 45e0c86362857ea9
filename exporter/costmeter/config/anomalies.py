"""Which spend is looked at for anomalies, and how closely."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated

from msgspec import Struct

from costmeter.config.kinds import Amount, Exact, Switch, Whole
from costmeter.config.problems import Wrong
from costmeter.config.spec import Setting
from costmeter.model import NANO_PER_USD


class _Sigma(Exact):
    def __init__(self) -> None:
        super().__init__("a number", "a number from 1 to 6, such as 2", 6)

    def parse(self, text: str, folder: Path) -> Decimal:
        value = super().parse(text, folder)
        if value < 1:
            raise Wrong("is under 1, where chance alone alarms; write 1 to 6")
        return value


class AnomalySettings(Struct, frozen=True):
    enabled: Annotated[bool, Setting(Switch(), "Whether spend is looked at every hour.")] = True
    sensitivity: Annotated[
        Decimal,
        Setting(
            _Sigma(),
            "What a month of one series may do by chance, in standard deviations: more is calmer.",
        ),
    ] = Decimal(2)
    floor_usd: Annotated[
        int,
        Setting(
            Amount(),
            "The least difference that anybody is told of.",
            unit="USD",
            key="floor_usd",
        ),
    ] = NANO_PER_USD
    most_scopes: Annotated[
        int,
        Setting(
            Whole(1, 2000),
            "So many values of each dimension are looked at, the largest of the last 30 days; "
            "the rest of them together, as _other.",
        ),
    ] = 200
    timeout_seconds: Annotated[
        int,
        Setting(Whole(5, 3600), "How long one run of the worker may take at most.", unit="seconds"),
    ] = 300
