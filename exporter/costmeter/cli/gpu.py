"""`costmeter gpu`: what GPUs cost, by what their time was spent on."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from decimal import Decimal

from costmeter.cli.cost import condition, dimension, span, tell_unpriced, without_price
from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of, usd
from costmeter.cli.table import Value, show
from costmeter.ledger.gpu_spend import CATEGORY, GpuSpend, gpu_spend
from costmeter.ledger.store import open_for_reading
from costmeter.model import GPU_ENERGY, MS_PER_HOUR, PIECES_PER_PRICED_UNIT

#: What people call the states.
STATES: Mapping[str, str] = {
    "used": "gpu_ms",
    "idle": "gpu_idle_ms",
    "unallocated": "gpu_unallocated_ms",
    "unobserved": "gpu_unobserved_ms",
}


def gpu(arguments: argparse.Namespace) -> int:
    """GPU-hours, energy and USD by state. The totals are those of `cost`."""
    since_ms, until_ms = span(arguments)
    by = [dimension(name.strip()) for name in arguments.by.split(",") if name.strip()]
    where = [condition(text) for text in arguments.where]
    store = open_for_reading(config_of(arguments).ledger.path)
    since_ms -= since_ms % store.cell_ms
    try:
        found = gpu_spend(store.connection, by, since_ms=since_ms, until_ms=until_ms, where=where)
        waiting = without_price(
            store.connection, since_ms, until_ms, [*where, ("category", CATEGORY)]
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    finally:
        store.close()
    if arguments.json:
        show(*_exact(by, found), as_json=True)
    else:
        show(*_readable(by, found), as_json=False, places=2)
    tell_unpriced(waiting)
    return 0


def _exact(by: Sequence[str], found: Sequence[GpuSpend]) -> tuple[list[str], list[Sequence[Value]]]:
    """In the pieces that the ledger counts in: nothing is rounded."""
    columns = [*by, *(f"{name}_ms" for name in STATES), "energy_mj"]
    columns += [*(f"{name}_usd" for name in STATES), "energy_usd", "other_usd", "net_usd"]
    classes = (*STATES.values(), GPU_ENERGY)
    return columns, [
        [
            *one.group,
            *(one.pieces[name] for name in classes),
            *(usd(one.nanos[name]) for name in classes),
            usd(one.other),
            usd(one.net),
        ]
        for one in found
    ]


def _readable(
    by: Sequence[str], found: Sequence[GpuSpend]
) -> tuple[list[str], list[Sequence[Value]]]:
    """GPU-hours and kWh; the share of the money that nobody used; a total below groups."""
    columns = [*by, "gpu_hours", *(f"{name}_usd" for name in STATES), "energy_kwh"]
    columns += ["energy_usd", "other_usd", "net_usd", "used_percent"]
    rows: list[Sequence[Value]] = [_row(one) for one in found]
    if by:
        classes = (*STATES.values(), GPU_ENERGY)
        total = GpuSpend(
            ("total", *[" "] * (len(by) - 1)),
            {name: sum(one.pieces[name] for one in found) for name in classes},
            {name: sum(one.nanos[name] for one in found) for name in classes},
            sum(one.net for one in found),
        )
        rows.append(_row(total))
    return columns, rows


def _row(one: GpuSpend) -> list[Value]:
    time_ms = sum(one.pieces[name] for name in STATES.values())
    used = one.pieces[STATES["used"]]
    return [
        *one.group,
        Decimal(time_ms) / MS_PER_HOUR,
        *(usd(one.nanos[name]) for name in STATES.values()),
        Decimal(one.pieces[GPU_ENERGY]) / PIECES_PER_PRICED_UNIT[GPU_ENERGY],
        usd(one.nanos[GPU_ENERGY]),
        usd(one.other),
        usd(one.net),
        Decimal(100 * used) / time_ms if time_ms else None,
    ]
