"""Budgets as metrics: which of them are exported, and their gauges."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence

from costmeter.analysis.budgets.contacts import usual_channel
from costmeter.analysis.budgets.status import BudgetStatus
from costmeter.model import CHUNK_SIZE, Chunk

#: The ledger-wide monthly budget's name among the others.
ORGANIZATION = "organization"
#: Of many budgets, so many are exported in the order of the configuration, and so many
#: of the rest by how much of them is spent.
EXPORTED_FIRST, EXPORTED_WORST = 2_000, 500

_FIGURES: Mapping[str, Callable[[BudgetStatus], int | None]] = {
    "llm_budget_limit": lambda s: s.limit,
    "llm_budget_spent": lambda s: s.spent,
    "llm_budget_forecast": lambda s: s.forecast,
    "llm_budget_exhaustion_timestamp_seconds": lambda s: s.exhaustion_ms,
    "llm_budget_warning_ratio": lambda s: s.budget.warning_permille,
    "llm_budget_critical_ratio": lambda s: s.budget.critical_permille,
    "llm_budget_planned": lambda s: s.plans.begun if s.budget.planned else None,
    "llm_budget_planned_open": lambda s: s.plans.open if s.budget.planned else None,
    "llm_budget_period_start_timestamp_seconds": lambda s: s.start_ms,
    "llm_budget_period_end_timestamp_seconds": lambda s: s.end_ms,
}


def exported(statuses: Sequence[BudgetStatus]) -> list[BudgetStatus]:
    """The first budgets in their order, and of the rest those that are spent the most."""
    worst = heapq.nlargest(
        EXPORTED_WORST, statuses[EXPORTED_FIRST:], key=lambda status: status.permille
    )
    return [*statuses[:EXPORTED_FIRST], *worst]


def families(
    statuses: Sequence[BudgetStatus], thresholds: Sequence[tuple[str, str, int]] = ()
) -> dict[str, tuple[Chunk, ...]]:
    """The budget gauges by catalog name; `thresholds` are (category, level, nano-USD)."""
    found: dict[str, tuple[Chunk, ...]] = {}
    for name, figure in _FIGURES.items():
        rows = [(status.budget.series_labels, figure(status)) for status in statuses]
        found[name] = _chunked([(labels, value) for labels, value in rows if value is not None])
    found["llm_budget_info"] = _chunked(
        [((*status.budget.series_labels, status.budget.owner, usual_channel(status.budget)), 1)
         for status in statuses]
    )  # fmt: skip
    monthly = [s.limit for s in statuses if s.budget.name == ORGANIZATION]
    found["llm_budget_monthly"] = _chunked([((), limit) for limit in monthly])
    found["llm_category_cost_threshold"] = _chunked(
        [((category, level), nano) for category, level, nano in thresholds]
    )
    return found


def _chunked(rows: Sequence[tuple[tuple[str, ...], int]]) -> tuple[Chunk, ...]:
    parts = [rows[i : i + CHUNK_SIZE] for i in range(0, len(rows), CHUNK_SIZE)]
    return tuple(
        Chunk(tuple(labels for labels, _ in part), tuple(value for _, value in part))
        for part in parts
    )
