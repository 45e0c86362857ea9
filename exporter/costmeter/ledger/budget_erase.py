"""Budgets of users who are erased: the id leaves their definitions, what was spent stays.

Where a budget counts nobody else it goes on under the token that the user's events carry now.
Where it counts several people of one id, of several tenants, it keeps those who stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import msgspec

from costmeter.ledger import budget_fill
from costmeter.ledger.booking import Booking
from costmeter.ledger.budget_store import BudgetStore, encoded
from costmeter.ledger.budgets import shape_of
from costmeter.ledger.upkeep import moment_of
from costmeter.model import Budget

_decode = msgspec.json.Decoder(Budget).decode
User = tuple[str, str]
"""(tenant_id, user_id)."""


def erase_users(booking: Booking, tokens: Mapping[User, str], left: Collection[User]) -> None:
    """`tokens` are those that the erased now carry, `left` all users that were not erased.

    Inside a transaction, when totals are written and the events carry their tokens.
    """
    connection, moment = booking.connection, moment_of(booking)
    recount: dict[int, Budget] = {}
    touched = False
    for user_id in sorted({user for _, user in tokens}):
        for name, rev, definition in connection.execute(
            "SELECT name, rev, definition FROM budget WHERE instr(definition, ?)",
            (msgspec.json.encode(user_id).decode(),),
        ).fetchall():
            budget = _decode(definition)
            match, tenant = dict(budget.match), budget.tenant_id
            own = [token for (of, user), token in sorted(tokens.items())
                   if user == user_id and tenant in ("", of)]  # fmt: skip
            if match.get("user_id") != user_id or not own:
                continue
            shared = any(user == user_id and tenant in ("", of) for of, user in left)
            if not shared:
                match["user_id"] = own[0]
                budget = replace(budget, match=tuple(sorted(match.items())))
                connection.execute(
                    "UPDATE budget SET definition = ? WHERE name = ? AND rev = ?",
                    (encoded(budget), name, rev),
                )
            standing = connection.execute(
                "UPDATE budget_now SET changed = ? WHERE name = ? AND rev = ? AND active "
                "RETURNING number",
                (moment.revision, name, rev),
            ).fetchone()
            if standing is None:
                continue
            touched = True
            connection.execute(
                "UPDATE budget_key SET value = ? WHERE number = ?",
                (shape_of(budget.match)[1], *standing),
            )
            if shared or len(own) > 1:
                recount[standing[0]] = budget
    if not touched:
        return
    booking.budgets.reread()
    if recount:
        budget_fill.from_ledger(connection, booking.budgets, recount, booking.cell_ms)
        budget_fill.periods(connection, recount)
        BudgetStore(connection, booking.budgets).reopen(list(recount), moment)
        booking.counters.reread()
