"""How figures of budgets look: units, colours and columns of tables."""

from __future__ import annotations

from typing import Any

from dashboards import colours

USD, RATIO = "currencyUSD", "percentunit"
TIMES = "suffix: x"

#: So many budgets in a table, and in a chart.
ROWS, LINES = 30, 8
ALERTS = {
    "BudgetExceeded": "semi-dark-red",
    "BudgetCritical": "semi-dark-orange",
    "BudgetWarning": "semi-dark-yellow",
    "BudgetBurnFast": "dark-red",
    "BudgetBurnSlow": "light-orange",
    "BudgetExhaustionSoon": "semi-dark-purple",
    "ForecastOverBudget": "semi-dark-blue",
}
NONE_IS_GOOD = ((None, colours.GOOD), (1, colours.BAD))
NONE_IS_BETTER = ((None, colours.GOOD), (1, colours.WARN))
STATE = ((None, colours.GOOD), (0.8, colours.WARN), (1, colours.BAD))
PACE = ((None, colours.GOOD), (1, colours.WARN), (1.5, colours.BAD))
NOT_KNOWN = "-"
SEVERAL = {
    "type": "value",
    "options": {"": {"text": "(several)", "index": 0}},
}


def steps_of(steps: tuple[tuple[float | None, str], ...]) -> dict[str, Any]:
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": colour} for value, colour in steps],
    }


def meter(maximum: float = 1.2) -> dict[str, Any]:
    """A column of shares, as bars."""
    return {
        "unit": RATIO,
        "decimals": 0,
        "min": 0,
        "max": maximum,
        "custom.cellOptions": {"type": "gauge", "mode": "basic", "valueDisplayMode": "color"},
        "color": {"mode": "thresholds"},
        "thresholds": steps_of(STATE),
        "custom.width": 165,
    }


def coloured(unit: str, steps: tuple[tuple[float | None, str], ...], **more: Any) -> dict[str, Any]:
    """A column of figures that are coloured by their size."""
    return {
        "unit": unit,
        "custom.cellOptions": {"type": "color-text"},
        "color": {"mode": "thresholds"},
        "thresholds": steps_of(steps),
        **more,
    }
