"""The configuration in the words of the rooms below, which never see it."""

from __future__ import annotations

from costmeter.analysis.budgets import ORGANIZATION
from costmeter.attribution import CATCH_ALL, Scope
from costmeter.config import Config
from costmeter.gpu.segments import Placement
from costmeter.ledger.admission import Limits
from costmeter.ledger.booking import Terms
from costmeter.model import MS_PER_DAY, Budget


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
            scope.match.provider,
            scope.match.account,
            scope.match.region,
            scope.match.service,
            scope.detail_from,
        )
        for scope in config.scopes
    ) or (CATCH_ALL,)


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
            match=tuple(sorted(item.matchers.items())),
            period=item.period,
            timezone=item.timezone or config.ledger.reporting_timezone,
            warning_permille=int(item.warning_percent * 10),
            critical_permille=int(item.critical_percent * 10),
            description=item.description,
            owner=item.owner,
            contacts=item.contacts,
        )
        for item in config.budgets.items
        if item.active
    )
    return tuple(budgets)


def placement_of(config: Config) -> Placement:
    """Whose GPUs these are, and at which price."""
    gpu = config.gpu
    return Placement(
        provider=gpu.provider,
        region=gpu.region,
        instance_type=gpu.instance_type,
        operation=gpu.purchase,
        tenant_id=gpu.tenant_id,
        environment=gpu.environment,
        purpose=gpu.purpose,
    )
