"""The whole configuration, put together from its sections.

Money is integer nano-USD, percentages and shares are Decimal, durations are whole
numbers of the unit in their name. A file that is not set is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from costmeter.config.accounting import Ledger, Series
from costmeter.config.budgets import Budgets
from costmeter.config.problems import Problem
from costmeter.config.records import Records, Section
from costmeter.config.scopes import Scope
from costmeter.config.service import Gpu, Ingest, Jobs, Log, Prices, Web
from costmeter.config.spec import Setting


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. `warnings` are worth a line in the log; they stop nothing."""

    ledger: Annotated[
        Ledger, Setting(Section(Ledger), "The ledger: where it is, and how time is cut in it.")
    ] = field(default_factory=Ledger)
    series: Annotated[
        Series,
        Setting(Section(Series), "How many series are exported at most, and who comes first."),
    ] = field(default_factory=Series)
    web: Annotated[Web, Setting(Section(Web), "Where the server listens, and who may read.")] = (
        field(default_factory=Web)
    )
    ingest: Annotated[Ingest, Setting(Section(Ingest), "What is taken from senders of usage.")] = (
        field(default_factory=Ingest)
    )
    prices: Annotated[Prices, Setting(Section(Prices), "Prices of your own.")] = field(
        default_factory=Prices
    )
    gpu: Annotated[Gpu, Setting(Section(Gpu), "The GPUs of this machine.")] = field(
        default_factory=Gpu
    )
    budgets: Annotated[
        Budgets, Setting(Section(Budgets), "What may be spent, and who is told.")
    ] = field(default_factory=Budgets)
    scopes: Annotated[
        tuple[Scope, ...],
        Setting(
            Records(Scope),
            "Which feed books which spend: the first scope that matches decides. "
            "Whatever none matches belongs to a scope `default` that books every feed.",
        ),
    ] = (Scope(),)
    jobs: Annotated[Jobs, Setting(Section(Jobs), "What is done regularly.")] = field(
        default_factory=Jobs
    )
    log: Annotated[Log, Setting(Section(Log), "The log.")] = field(default_factory=Log)
    warnings: tuple[Problem, ...] = field(default=(), compare=False)
