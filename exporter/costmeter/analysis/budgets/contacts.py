"""Who is told of a budget's crossing, by what they asked for."""

from __future__ import annotations

from collections.abc import Iterable

from costmeter.analysis.budgets.messages import Kind
from costmeter.model import Budget

_RANK = {"warning": 1, "critical": 2, "exceeded": 3}


def told(budget: Budget, kind: Kind) -> tuple[str, ...]:
    """Addresses that hear of it: contacts of everything, others from their level on."""
    asked = [
        one.to
        for one in budget.notify
        if (one.projections if kind == "projected" else _RANK[kind] >= _RANK[one.level])
    ]
    return tuple(dict.fromkeys((*budget.contacts, *asked)))


def channel(addresses: Iterable[str]) -> str:
    """The first Slack channel among them, "" where there is none."""
    return next((one for one in addresses if one.startswith("#")), "")


def usual_channel(budget: Budget) -> str:
    """The channel for alerts of every kind: one that hears of all before one that does not."""
    return channel((*told(budget, "warning"), *(one.to for one in budget.notify)))
