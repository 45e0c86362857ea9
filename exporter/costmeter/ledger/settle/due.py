"""Which settled days have to be settled again, because their meters moved."""

from __future__ import annotations

from collections.abc import Iterable
from sqlite3 import Connection

from costmeter.attribution import NONE, Scope
from costmeter.ledger.settle.plan import KINDS, METERED


class Due:
    """Used inside the write transaction only."""

    def __init__(self, connection: Connection, scopes: Iterable[Scope]) -> None:
        self._connection = connection
        self._billed = any(scope.amount_from != NONE for scope in scopes)

    def note(self, cells: Iterable[tuple[int, int, int, int, str, str]]) -> None:
        """Note the days of these cells (org, day, dim, booked, kind, status).

        A late event, a correction and a new price all come past here. Days whose meters
        hold anyway are left out.
        """
        if not self._billed:
            return
        days = {cell[1] for cell in cells if cell[4] not in KINDS}
        self._connection.executemany(
            "INSERT OR IGNORE INTO settle_due "
            "SELECT DISTINCT scope, day, NULL FROM settlement WHERE day = ? AND status != ?",
            [(day, METERED) for day in sorted(days)],
        )
