"""The configuration in the words of the rooms below, which never see it."""

from __future__ import annotations

from fractions import Fraction

from costmeter.analysis.budgets import ORGANIZATION
from costmeter.attribution import CATCH_ALL, Scope
from costmeter.config import Config
from costmeter.config import contracts as config_contracts
from costmeter.config.budgets import WEEKDAYS
from costmeter.ledger.admission import Limits
from costmeter.ledger.terms import Terms
from costmeter.model import MS_PER_DAY, NANO_PER_USD, Budget, Contact, Planned
from costmeter.pricing import Contract, PriceBook, load_price_book
from costmeter.pricing.catalogue import EVER_MS, NEVER_MS, day_ms
from costmeter.pricing.contracts import Commitment
from costmeter.pricing.providers import canonical_provider


def terms_of(config: Config) -> Terms:
    """The rules that the ledger books by."""
    ledger, series = config.ledger, config.series
    return Terms(
        reporting_timezone=ledger.reporting_timezone,
        extra_labels=ledger.extra_labels,
        birth_hold_ms=ledger.birth_hold_seconds * 1_000,
        late_after_ms=ledger.late_after_seconds * 1_000,
        max_release_ms=ledger.max_release_days * MS_PER_DAY,
        promote_permille=int(series.promote_share * 1_000),
        limits=Limits(series.max_tuples, series.per_label.by_label()),
        admit=series.admit.by_label(),
        scopes=scopes_of(config),
    )


def scopes_of(config: Config) -> tuple[Scope, ...]:
    return tuple(
        Scope(
            scope.name,
            canonical_provider(scope.match.provider),
            scope.match.account,
            scope.match.region,
            scope.match.service,
            scope.detail_from,
            scope.amount_from,
            scope.basis,
            scope.match_keys,
            scope.spread_up_permille,
        )
        for scope in config.scopes
    ) or (CATCH_ALL,)


def price_book(config: Config) -> PriceBook:
    """The prices that the configuration says. Raises PriceFileError."""
    return load_price_book(
        config.prices.files, config.prices.updates, contracts=contracts_of(config)
    )


def contracts_of(config: Config) -> tuple[Contract, ...]:
    """What is agreed with providers, in the order in which it is tried."""
    return tuple(
        Contract(
            name=one.name,
            provider=one.provider,
            model=one.model,
            account=one.account,
            region=one.region,
            processing={"any": "*"}.get(one.processing, one.processing),
            from_ms=day_ms(one.valid_from) if one.valid_from else EVER_MS,
            until_ms=day_ms(one.until) if one.until else NEVER_MS,
            figures={
                _CLASSES.get(key, key.partition(".")[2]): _figure(key, text)
                for key, text in one.negotiated.items()
            },
            discount=1 - Fraction(one.discount_percent) / 100 if one.discount_percent else None,
            reference=one.reference,
            commitment=_commitment(one.commitment),
        )
        for one in config.contracts
    )


def _commitment(said: config_contracts.Commitment) -> Commitment | None:
    if said.usd is None:
        return None
    if said.covers_usd is None:
        return Commitment(said.usd, said.covers_tokens, of_tokens=True)
    return Commitment(said.usd, said.covers_usd, of_tokens=False)


#: Classes of a contract that the ledger meters under another name.
_CLASSES = {"usd_per_hour.gpu": "gpu_ms"}


def _figure(key: str, text: str) -> int:
    """A negotiated price as nano-USD per million priced units; exact, as it was written."""
    pieces = 1 if key.startswith("usd_per_million") else 10**6
    return int(Fraction(text) * NANO_PER_USD * pieces)


def budgets_of(config: Config) -> tuple[Budget, ...]:
    """The active budgets, the ledger-wide monthly one first."""
    budgets = []
    if config.budgets.monthly_nano is not None:
        zone = config.ledger.reporting_timezone
        budgets.append(Budget(ORGANIZATION, config.budgets.monthly_nano, timezone=zone))
    budgets.extend(
        Budget(
            name=item.name,
            limit_nano=item.limit_nano,
            match=tuple(
                sorted((name, _value(name, value)) for name, value in item.matchers.items())
            ),
            period=item.period,
            timezone=item.timezone or config.ledger.reporting_timezone,
            warning_permille=int(item.warning_percent * 10),
            critical_permille=int(item.critical_percent * 10),
            description=item.description,
            owner=item.owner,
            contacts=item.contacts,
            week_starts=WEEKDAYS.index(item.week_starts) if item.period == "week" else 0,
            start=item.start,
            end=item.end,
            repeats=item.repeats,
            rollover=item.rollover,
            rollover_nano=item.rollover_nano,
            currency=item.currency,
            planned=tuple(
                Planned(one.name, one.amount_nano, one.at, one.hours, one.repeats)
                for one in item.planned
            ),
            notify=tuple(
                Contact(one.to, one.kind, one.level, one.projections) for one in item.notify
            ),
        )
        for item in config.budgets.items
        if item.active
    )
    return tuple(budgets)


def thresholds_of(config: Config) -> tuple[tuple[str, str, int], ...]:
    """(category, level, nano-USD) of the amounts at which somebody is told."""
    return tuple(
        (one.category, level, nano)
        for one in config.budgets.categories
        for level, nano in (("warning", one.warning_nano), ("critical", one.critical_nano))
        if nano is not None
    )


def _value(label: str, value: str) -> str:
    return canonical_provider(value) if label == "provider" else value
