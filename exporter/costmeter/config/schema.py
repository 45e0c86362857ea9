"""The whole configuration, put together from its sections.

Money is integer nano-USD, percentages and shares are Decimal, durations are whole
numbers of the unit in their name. A file that is not set is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from costmeter.config.accounting import Ledger, Series
from costmeter.config.alerting import AlertmanagerSettings
from costmeter.config.anomalies import AnomalySettings
from costmeter.config.budgets import Budgets
from costmeter.config.contracts import Contract
from costmeter.config.currencies import Currencies
from costmeter.config.fixed_costs import FixedCosts
from costmeter.config.forecasting import ForecastSettings
from costmeter.config.gpu import Gpu
from costmeter.config.inventory import Inventory
from costmeter.config.problems import Problem
from costmeter.config.process import Log, Web
from costmeter.config.records import Records, Section
from costmeter.config.scopes import Scope
from costmeter.config.service import Ingest, Jobs, Prices
from costmeter.config.serving import ServedModel
from costmeter.config.sources import Source
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
    contracts: Annotated[
        tuple[Contract, ...],
        Setting(
            Records(Contract),
            "What is agreed with providers instead of list prices: the first contract that "
            "matches and is in force decides.",
        ),
    ] = ()
    gpu: Annotated[Gpu, Setting(Section(Gpu), "The GPUs of this machine.")] = field(
        default_factory=Gpu
    )
    serving: Annotated[
        tuple[ServedModel, ...],
        Setting(
            Records(ServedModel),
            "Self-hosted models whose calls are metered here: what a million of their tokens "
            "costs in GPU time.",
        ),
    ] = ()
    budgets: Annotated[
        Budgets, Setting(Section(Budgets), "What may be spent, and who is told.")
    ] = field(default_factory=Budgets)
    alertmanager: Annotated[
        AlertmanagerSettings,
        Setting(Section(AlertmanagerSettings), "Alerts of budgets that no metric shows."),
    ] = field(default_factory=AlertmanagerSettings)
    forecast: Annotated[
        ForecastSettings,
        Setting(Section(ForecastSettings), "Forecasts of what will be spent."),
    ] = field(default_factory=ForecastSettings)
    anomalies: Annotated[
        AnomalySettings,
        Setting(Section(AnomalySettings), "Spend that is not as expected."),
    ] = field(default_factory=AnomalySettings)
    scopes: Annotated[
        tuple[Scope, ...],
        Setting(
            Records(Scope),
            "Which feed books which spend: the first scope that matches decides. "
            "Whatever none matches belongs to a scope `default` that books every feed.",
        ),
    ] = (Scope(),)
    sources: Annotated[
        tuple[Source, ...],
        Setting(
            Records(Source),
            "Providers whose own reports of usage and costs are read regularly. Usage is only "
            "compared, unless a scope's `detail_from` names the source.",
        ),
    ] = ()
    fixed_costs: Annotated[
        FixedCosts,
        Setting(
            Section(FixedCosts),
            "People, licences and contracts: what costs the same whether it is used or not.",
        ),
    ] = field(default_factory=FixedCosts)
    inventory: Annotated[
        Inventory,
        Setting(Section(Inventory), "Infrastructure that no bill is connected for."),
    ] = field(default_factory=Inventory)
    currencies: Annotated[
        Currencies, Setting(Section(Currencies), "What amounts in other currencies are worth.")
    ] = field(default_factory=Currencies)
    jobs: Annotated[Jobs, Setting(Section(Jobs), "What is done regularly.")] = field(
        default_factory=Jobs
    )
    log: Annotated[Log, Setting(Section(Log), "The log.")] = field(default_factory=Log)
    warnings: tuple[Problem, ...] = field(default=(), compare=False)
