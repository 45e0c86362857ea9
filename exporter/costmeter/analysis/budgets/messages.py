"""What is said about a budget that crossed an amount; it must make sense on a phone at night."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from costmeter.analysis.budgets.status import BudgetStatus
from costmeter.model import NANO_PER_USD

Kind = Literal["warning", "critical", "exceeded", "projected"]
_BOOKS = "https://github.com/costmeter/costmeter/blob/main"
_RUNBOOKS = {
    "warning": "BudgetWarning",
    "critical": "BudgetWarning",
    "exceeded": "BudgetExceeded",
    "projected": "ForecastOverBudget",
}


class Message(NamedTuple):
    summary: str
    description: str
    runbook_url: str


def message(status: BudgetStatus, kind: Kind) -> Message:
    """The words for one kind of crossing, with the figures of now."""
    budget = status.budget
    tenant = f" of tenant {budget.tenant_id}" if budget.tenant_id else ""
    name = f"Budget {budget.name}{tenant}"
    percent = f"{_share(status.spent, status.limit)} of its limit"
    summary = {
        "warning": f"{name} is at {percent}",
        "critical": f"{name} is nearly used up: {percent}",
        "exceeded": f"{name} is used up: {percent}",
        "projected": f"{name} is heading for {_share(status.forecast, status.limit)} of its limit",
    }[kind]
    figures = (
        f"Spent {usd(status.spent)} of {usd(status.limit)} USD{_carried(status)}; projected for "
        f"the whole {_period(status)}: {usd(status.forecast)} USD; {_days(status.days_left)} left."
    )
    said = [figures]
    if kind in ("critical", "projected") and status.exhaustion_ms is not None:
        said.append(f"At the present rate it is used up on {when(status, status.exhaustion_ms)}.")
    if kind == "exceeded":
        said.append(f"That is {usd(status.overage)} USD over.")
    said.append(_advice(status, kind))
    return Message(summary, " ".join(said), f"{_BOOKS}/alert_rules/runbooks/{_RUNBOOKS[kind]}.md")


def usd(nano: int) -> str:
    """Whole cents, for people."""
    return f"{Decimal(nano) / NANO_PER_USD:,.2f}"


def when(status: BudgetStatus, at_ms: int) -> str:
    """An instant in the budget's own time zone."""
    zone = ZoneInfo(status.budget.timezone)
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")


def _advice(status: BudgetStatus, kind: Kind) -> str:
    owner = status.budget.owner or "the budget's owner"
    named = [pair for pair in status.budget.match if pair[0] != "user_id"]
    where = "".join(f" --where '{name}={value}'" for name, value in named)
    look = f"`costmeter cost --by model --since 24h{where}`"
    if kind == "warning":
        return (
            "Nothing has to happen tonight: compare the projection with the limit, and tell "
            f"{owner} if it is above."
        )
    if kind == "projected":
        return (
            f"There is time to act: {look} shows what drives the rate. Slow it down, or plan "
            f"for more money with {owner}."
        )
    if kind == "critical":
        return (
            f"{usd(status.daily_left)} USD a day are left, {usd(status.daily_rate)} USD a day are "
            f"spent. {look} shows who spends. Move batch work to batch prices, take a smaller "
            f"model where it does, cache long prompts, or agree a higher limit with {owner} now."
        )
    return (
        f"costmeter blocks nothing, so spending goes on. First: {look} shows who spends; stop "
        f"that workload or take its key away. The emergency guide is {_BOOKS}/docs/budgets.md"
        f"#when-a-budget-is-exceeded. To ask for more: tell {owner} the overage and the "
        "projection above; a higher limit holds from the next evaluation on."
    )


def _share(amount: int, limit: int) -> str:
    if limit <= 0:
        return "any amount"
    return f"{Decimal(amount) * 100 / limit:.1f} %"


def _carried(status: BudgetStatus) -> str:
    return f" ({usd(status.carried)} of it carried over)" if status.carried else ""


def _period(status: BudgetStatus) -> str:
    return "period" if status.budget.period == "custom" else status.budget.period


def _days(days: float) -> str:
    if days < 1:
        return f"{days * 24:.0f} hours"
    return f"{days:.1f} days"
