"""What is forecast, and when."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from costmeter.config.kinds import Switch, Whole
from costmeter.config.spec import Setting
from costmeter.config.values import TIME_OF_DAY


class ForecastSettings(Struct, frozen=True):
    enabled: Annotated[
        bool, Setting(Switch(), "Whether forecasts are made every day and exported.")
    ] = True
    at: Annotated[
        str, Setting(TIME_OF_DAY, "When they are made every day, in the time zone of the jobs.")
    ] = "02:00"
    most_scopes: Annotated[
        int,
        Setting(
            Whole(1, 5000),
            "So many values of each dimension have forecasts of their own, the largest of the "
            "last 30 days; the rest of them are one forecast, _other.",
        ),
    ] = 200
    timeout_seconds: Annotated[
        int,
        Setting(Whole(5, 7200), "How long one run of the worker may take at most.", unit="seconds"),
    ] = 300
    deep: Annotated[
        bool,
        Setting(
            Switch(),
            "Whether the 500 largest scopes get the slower models of the extra `forecast`.",
        ),
    ] = False
