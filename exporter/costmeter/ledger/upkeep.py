"""What the ledger needs beside booking: its start, new epochs, clean-up, promotion."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from costmeter.ledger.admission import EXPORTED, Admission
from costmeter.ledger.booking import Booking
from costmeter.ledger.budget_store import BudgetStore, Moment
from costmeter.ledger.copies import RESTORED
from costmeter.ledger.periods import Calendar
from costmeter.ledger.reprice_state import note_prices
from costmeter.ledger.store import LedgerError
from costmeter.model import OTHER, Budget

_encode = msgspec.json.Encoder(order="sorted").encode


def start(booking: Booking, budgets: Sequence[Budget]) -> None:
    """Prepare a ledger for this process, in one transaction.

    Birth holds that had not ended when the last process did begin again: nobody can have
    scraped the series since. Raises LedgerError when a time zone does not fit the cells.
    """
    # Not the heartbeat: after a step back that one lies before what counters have shown.
    last_shown = booking.release_clock_ms
    check_zones(booking, budgets)

    def work() -> None:
        _begin_epoch_after_restore(booking)
        booking.connection.execute(
            "UPDATE series SET hold_until = ?, rev = ? WHERE hold_until > ?",
            (
                booking.release_clock_ms + booking.terms.birth_hold_ms,
                booking.revision,
                last_shown,
            ),
        )
        apply_terms(booking, budgets)
        # What is booked from here on has these prices, and the rest is repriced in time.
        note_prices(booking, booking.prices.revision)

    booking.transact(work)


def apply_terms(booking: Booking, budgets: Sequence[Budget]) -> None:
    """Make the configured labels, values, zone and budgets hold. Inside a transaction."""
    admission, terms = booking.admission, booking.terms
    admission.enable(terms.extra_labels, booking.booked)
    for label, values in terms.admit.items():
        admission.admit_first(label, values, booking.booked)
    if booking.store.meta("reporting_timezone") != terms.reporting_timezone:
        recut_periods(booking)
        booking.connection.execute(
            "UPDATE meta SET v = ? WHERE k = 'reporting_timezone'", (terms.reporting_timezone,)
        )
    apply_budgets(booking, budgets)


def apply_budgets(booking: Booking, budgets: Sequence[Budget]) -> None:
    """Make these the active budgets. Inside a transaction."""
    for budget in budgets:
        for label, value in budget.match:
            if label in EXPORTED:
                booking.admission.admit_first(label, [value], booking.booked)
    booking.write_totals()
    BudgetStore(booking.connection, booking.budgets).configure(budgets, moment_of(booking))
    booking.counters.reread()


def moment_of(booking: Booking) -> Moment:
    """When budgets are changed that are changed now."""
    return Moment(
        booking.revision,
        booking.now_ms,
        booking.release_clock_ms + booking.terms.birth_hold_ms,
        booking.cell_ms,
    )


def recut_periods(booking: Booking) -> None:
    """Compute the gauges' rollup anew from the cells, in the reporting time zone."""
    sums: dict[tuple[str, int, str], int] = {}
    rows = booking.connection.execute(
        "SELECT dim, hour, booked, sum(up - down) FROM cell GROUP BY dim, hour, booked"
    ).fetchall()
    mapping = Admission(booking.connection, booking.terms.limits, admitting=False)
    for dim, hour, booked, net in rows:
        labels = mapping.exported(booking.dims.numbered(dim).labels, booked)
        day, month = booking.calendar.day_and_month(hour)
        for grain, period in (("day", day), ("month", month)):
            key = (grain, period, _encode(labels).decode())
            sums[key] = sums.get(key, 0) + net
    saved = booking.connection.execute("SELECT dim, hour, booked, nano FROM saving").fetchall()
    for dim, hour, booked, nano in saved:
        labels = mapping.exported(booking.dims.numbered(dim).labels, booked)
        month_key = ("saved", booking.calendar.day_and_month(hour)[1], _encode(labels).decode())
        sums[month_key] = sums.get(month_key, 0) + nano
    booking.connection.execute("DELETE FROM period_cost")
    booking.connection.executemany(
        "INSERT INTO period_cost VALUES (?, ?, ?, ?, ?)",
        [(*key, net, booking.revision) for key, net in sums.items()],
    )


def new_epoch(booking: Booking, reason: str) -> None:
    """Counters restart at 0, because the ledger was taken back to an earlier state."""
    connection = booking.connection
    connection.execute("UPDATE meta SET v = v + 1 WHERE k = 'epoch'")
    connection.execute(
        "UPDATE series SET opening = opening - value, value = 0, hold_until = 0, rev = ?",
        (booking.revision,),
    )
    connection.execute("DELETE FROM release")
    booking.counters.reread()
    audit(booking, "restore", reason)


def _begin_epoch_after_restore(booking: Booking) -> None:
    row = booking.connection.execute("SELECT v FROM meta WHERE k = ?", (RESTORED,)).fetchone()
    if row is not None:
        new_epoch(booking, f"restored from {row[0]}")
        booking.connection.execute("DELETE FROM meta WHERE k = ?", (RESTORED,))


def clean_up(booking: Booking) -> int:
    """Delete releases that have ended; the number deleted. Nothing published changes."""
    cursor = booking.connection.execute(
        "DELETE FROM release WHERE until_ms <= ?", (booking.release_clock_ms,)
    )
    return cursor.rowcount


def promote(booking: Booking) -> list[tuple[str, str]]:
    """Admit values in `_other` that grew past their share of a week's spend.

    They have series of their own from the next booking day on.
    """
    since = booking.booked - 7
    promoted: list[tuple[str, str]] = []
    total = booking.connection.execute(
        "SELECT coalesce(sum(up - down), 0) FROM day_cell WHERE day >= ?", (since,)
    ).fetchone()[0]
    if total <= 0:
        return promoted
    threshold = total * booking.terms.promote_permille // 1_000
    for label in booking.terms.limits.per_label:
        if not booking.admission.exports(label, booking.booked):
            continue
        rows = booking.connection.execute(
            f"SELECT dim.{label}, sum(up - down) AS net FROM day_cell JOIN dim USING (dim) "
            f"WHERE day >= ? GROUP BY dim.{label} HAVING net > ?",
            (since, threshold),
        ).fetchall()
        for value, _ in rows:
            if value and value != OTHER and not booking.admission.has(label, value, booking.booked):
                booking.admission.admit_first(label, [value], booking.booked + 1)
                promoted.append((label, value))
    return promoted


def audit(booking: Booking, kind: str, text: str) -> None:
    """Append to the audit log. Inside a transaction."""
    booking.connection.execute(
        "INSERT INTO audit (at_ms, kind, text) VALUES (?, ?, ?)", (booking.now_ms, kind, text)
    )


def check_zones(booking: Booking, budgets: Sequence[Budget]) -> None:
    """Raises LedgerError for a time zone whose days do not begin on a cell boundary."""
    zones = {booking.terms.reporting_timezone: "ledger.reporting_timezone"}
    zones.update({budget.timezone: f"budget {budget.name}" for budget in budgets})
    for zone, where in zones.items():
        if not Calendar(zone).fits(booking.cell_ms, booking.time.now_ms()):
            raise LedgerError(
                f"{where}: months in {zone} do not begin on the hour, and this ledger keeps "
                f"{booking.cell_ms // 60_000}-minute cells; create a ledger with "
                "ledger.cell_minutes = 15 for such a zone, or choose another zone"
            )
