"""Settings of the ledger and of the series that are exported from it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from msgspec import Struct
from msgspec.structs import asdict

from costmeter.config.kinds import Choice, OneOf, Whole, WorkPath, Zone
from costmeter.config.records import ListOf, Section
from costmeter.config.spec import Setting
from costmeter.config.values import LABEL, SHARE

_LIMIT = Whole(1, 10_000_000)
_ADMITTED = ListOf(LABEL, "label values")


class Ledger(Struct, frozen=True):
    path: Annotated[
        Path,
        Setting(
            WorkPath(),
            "The ledger's database. A relative path is meant from the directory the "
            "process was started in.",
            flag="--ledger.path",
        ),
    ] = Path("costmeter-data/ledger.db")
    reporting_timezone: Annotated[
        str, Setting(Zone(), "Where a day and a month begin in figures to date.")
    ] = "UTC"
    cell_minutes: Annotated[
        int,
        Setting(
            OneOf(60, 15),
            "Length of the ledger's cells; it counts only when the ledger is created. "
            "15 is for time zones that lie a half or quarter hour off UTC.",
            unit="minutes",
        ),
    ] = 60
    extra_labels: Annotated[
        tuple[str, ...],
        Setting(
            ListOf(Choice("team", "feature"), "team, feature"),
            "Labels that the cost metrics carry besides the standard ones. Each "
            "multiplies the number of series.",
        ),
    ] = ()
    open_window_days: Annotated[
        int,
        Setting(
            Whole(1, 90),
            "How old an event may be; a repeated event is recognised for as long.",
            unit="days",
        ),
    ] = 7
    birth_hold_seconds: Annotated[
        int,
        Setting(
            Whole(0, 86400),
            "How long a new series stays at its previous value, so that increase() sees"
            " its first amount: at least twice the scrape interval plus the rule "
            "interval.",
            unit="seconds",
        ),
    ] = 300
    late_after_seconds: Annotated[
        int,
        Setting(
            Whole(1, 2592000),
            "What arrives later than this enters the counters gradually; gauges show it at once.",
            unit="seconds",
        ),
    ] = 3600
    max_release_days: Annotated[
        int,
        Setting(
            Whole(1, 90), "The longest that a late amount takes to enter a counter.", unit="days"
        ),
    ] = 14
    future_tolerance_seconds: Annotated[
        int,
        Setting(
            Whole(0, 3600),
            "How far ahead of the server's clock an event may be; one further ahead has"
            " to be sent again.",
            unit="seconds",
        ),
    ] = 30


class PerLabel(Struct, frozen=True):
    """The most values of each label; further ones become `_other`."""

    tenant_id: Annotated[int, Setting(_LIMIT, "The most tenants with series of their own.")] = 10000
    model: Annotated[int, Setting(_LIMIT, "The most models.")] = 2000
    provider: Annotated[int, Setting(_LIMIT, "The most providers.")] = 200
    environment: Annotated[int, Setting(_LIMIT, "The most environments.")] = 50
    team: Annotated[int, Setting(_LIMIT, "The most teams.")] = 2000
    feature: Annotated[int, Setting(_LIMIT, "The most features.")] = 2000

    def by_label(self) -> Mapping[str, int]:
        return asdict(self)


class Admit(Struct, frozen=True):
    """Values that are admitted before any other."""

    tenant_id: Annotated[
        tuple[str, ...], Setting(_ADMITTED, "Tenants that always have series of their own.")
    ] = ()
    model: Annotated[tuple[str, ...], Setting(_ADMITTED, "The same for models.")] = ()
    provider: Annotated[tuple[str, ...], Setting(_ADMITTED, "The same for providers.")] = ()
    environment: Annotated[tuple[str, ...], Setting(_ADMITTED, "The same for environments.")] = ()
    team: Annotated[tuple[str, ...], Setting(_ADMITTED, "The same for teams.")] = ()
    feature: Annotated[tuple[str, ...], Setting(_ADMITTED, "The same for features.")] = ()

    def by_label(self) -> Mapping[str, tuple[str, ...]]:
        return asdict(self)


class Series(Struct, frozen=True):
    max_tuples: Annotated[
        int,
        Setting(
            _LIMIT,
            "The most combinations of label values; beyond it the tenant becomes "
            "_other, then the model.",
        ),
    ] = 50000
    per_label: Annotated[
        PerLabel,
        Setting(Section(PerLabel), "The most values of a label; further ones become _other."),
    ] = PerLabel()
    admit: Annotated[
        Admit, Setting(Section(Admit), "Values that are admitted before any other.")
    ] = Admit()
    promote_share: Annotated[
        Decimal,
        Setting(
            SHARE, "A value in _other whose share of spend grows past this gets series of its own."
        ),
    ] = Decimal("0.01")
