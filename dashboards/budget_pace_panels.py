"""Panels of "Budgets" about how fast budgets are used."""

from __future__ import annotations

from dashboards import budget_state_queries as ask
from dashboards import colours, panels
from dashboards.budget_looks import (
    LINES,
    NOT_KNOWN,
    PACE,
    RATIO,
    ROWS,
    TIMES,
    USD,
    coloured,
)
from dashboards.budget_queries import WINDOWS
from dashboards.panels import At, Look, Panel, Query

_DASHED = {"custom.lineStyle": {"fill": "dash", "dash": [8, 8]}, "custom.fillOpacity": 0}
FAST = (
    panels.lines(
        "Burn-up of the fullest budget",
        At(0, 0, 15, 9),
        "How did the budget that is nearest to its limit get there? What is spent, what an even"
        " pace would have spent, and where its period is projected to end. Choose a budget above"
        " to see another one.",
        [
            Query(ask.column("budget:llm_budget_spent:max", 1), "spent of {{budget}}"),
            Query(ask.even(1), "even pace"),
            Query(ask.column("budget:llm_budget_forecast:max", 1), "projected at the end"),
            Query(ask.column("budget:llm_budget_limit:max", 1), "limit"),
        ],
        Look(
            USD,
            1,
            minimum=0,
            nothing="No budget",
            lines={
                "/^spent of/": {"color": panels.fixed(colours.MONEY), "custom.fillOpacity": 20},
                "even pace": {"color": panels.fixed(colours.REST), **_DASHED},
                "projected at the end": {"color": panels.fixed("semi-dark-orange")},
                "limit": {"color": panels.fixed("red"), **_DASHED},
            },
        ),
        interval="1h",
        placement="right",
        calcs=("lastNotNull",),
        runbooks=("ForecastOverBudget", "BudgetExhaustionSoon"),
    ),
    panels.bars(
        "Ahead of an even pace",
        At(15, 0, 9, 9),
        f"Who is ahead of the calendar, and by how much? USD spent beyond what an even pace would"
        f" have spent by now; the {LINES} largest.",
        [Query(ask.ahead(LINES), "{{budget}}", now=True)],
        Look(USD, 2, minimum=0, nothing="Nobody is", colour="semi-dark-orange"),
        runbooks=("BudgetExhaustionSoon",),
    ),
    panels.table(
        "Burn rates",
        At(0, 9, 12, 9),
        "How fast is each budget used? Spend of the last hour, 6 hours, day and 3 days over what an"
        " even pace takes in that time: at 1 a budget lasts exactly its period, at 2 half of it."
        " The pace is that of the whole period so far.",
        [
            *(Query(ask.burn(window, ROWS), now=True, table=True) for window in WINDOWS),
            Query(ask.pace(ROWS), now=True, table=True),
        ],
        Look(
            TIMES,
            1,
            nothing=NOT_KNOWN,
            lines={
                "Budget": {"unit": "string"},
                "Period": {"unit": "string", "custom.width": 80},
                **{
                    name: coloured(TIMES, PACE, **{"custom.width": 85})
                    for name in (*WINDOWS, "So far")
                },
            },
        ),
        [
            "budget as Budget",
            "period as Period",
            *(
                f"Value #{letter} as {name}"
                for letter, name in zip("ABCDE", (*WINDOWS, "So far"), strict=True)
            ),
        ],
        sort="1 day",
        runbooks=("BudgetBurnFast", "BudgetBurnSlow"),
    ),
    panels.lines(
        "Pace",
        At(12, 9, 12, 9),
        "Does a budget catch up with the calendar, or leave it behind? The used share over the"
        f" share of the period that has passed, of the {LINES} fullest; above 1 it will not last."
        " The first twentieth of each period is left out.",
        [Query(ask.pace(LINES), "{{budget}}")],
        Look(
            TIMES, 1, minimum=0, nothing="No budget",
            steps=((None, "transparent"), (1, colours.WARN)),
        ),
        limits=True,
        interval="1h",
        placement="right",
        calcs=("lastNotNull",),
        runbooks=("ForecastOverBudget",),
    ),
)  # fmt: skip


def _window(title: str, window: str, x: int, runbook: str) -> Panel:
    share = WINDOWS[window][2]
    return panels.lines(
        title,
        At(x, 0, 6, 8),
        f"Is money burning? Share of its limit that each of the {LINES} fullest budgets spent"
        f" within {window}. {runbook} speaks where this is {share:.0%} beyond the budget's even"
        " share and beyond the same time before; the line stands there. A budget whose period is"
        " too short for that alert is left out.",
        [Query(ask.window_share(window, LINES), "{{budget}}")],
        Look(
            RATIO,
            1,
            minimum=0,
            nothing="No budget",
            steps=((None, "transparent"), (share, colours.BAD)),
        ),
        limits=True,
        at_least=share * 1.2,
        interval="30m",
        calcs=(),
        runbooks=(runbook,),
    )


BURN = (
    _window("Spent within an hour", "1 hour", 0, "BudgetBurnFast"),
    _window("Spent within six hours", "6 hours", 6, "BudgetBurnFast"),
    _window("Spent within a day", "1 day", 12, "BudgetBurnSlow"),
    _window("Spent within three days", "3 days", 18, "BudgetBurnSlow"),
)
