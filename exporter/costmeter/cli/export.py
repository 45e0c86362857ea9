"""`costmeter export focus`: charges by day for FinOps tools."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of, instant, usd, wall_ms
from costmeter.cli.whole import absent, whole
from costmeter.cli.writing import STDOUT
from costmeter.ledger.store import open_for_reading, transaction_for_reading
from costmeter.model import MS_PER_DAY
from costmeter.reports.focus import columns_of
from costmeter.reports.focus_files import write_csv, write_parquet
from costmeter.reports.focus_rows import Charge, Charges, row_of

_WRITERS = {".csv": write_csv, ".parquet": write_parquet}


def focus(arguments: argparse.Namespace) -> int:
    """Write the charges of whole UTC days; what they add up to goes to standard error."""
    now_ms = wall_ms()
    # A day that has only begun is written as far as it is.
    until = instant(arguments.until, now_ms) if arguments.until else now_ms + MS_PER_DAY
    since = instant(arguments.since, now_ms) if arguments.since else 0
    since_day, until_day = since // MS_PER_DAY, until // MS_PER_DAY
    if since_day >= until_day:
        raise CommandError(
            f"--until {arguments.until} is not on a day after --since {arguments.since}; "
            "days are UTC, and the last one is not written"
        )
    kind = ".csv" if arguments.output == STDOUT else Path(arguments.output).suffix.lower()
    if kind not in _WRITERS:
        raise CommandError(f"--output {arguments.output!r}: write FILE.csv or FILE.parquet")
    config = config_of(arguments)
    with (
        closing(open_for_reading(config.ledger.path)) as store,
        transaction_for_reading(store.connection),
    ):
        charges = Charges(store.connection, since_day, until_day)
        total = _Total()
        try:
            count = _write(arguments, kind, total.of(charges.read()))
        except ValueError as error:
            raise CommandError(str(error)) from None
    print(f"{count:,} rows, {usd(total.nano):f} USD", file=sys.stderr)
    if charges.unpriced_requests:
        print(
            f"{charges.unpriced_requests:,} calls have no price; what they cost is in no row "
            "(unpriced, not free)",
            file=sys.stderr,
        )
    return 0


class _Total:
    """Adds up what passes through."""

    def __init__(self) -> None:
        self.nano = 0

    def of(self, charges: Iterator[Charge]) -> Iterator[Charge]:
        for charge in charges:
            self.nano += charge.nano
            yield charge


def _write(arguments: argparse.Namespace, kind: str, charges: Iterator[Charge]) -> int:
    columns = columns_of(arguments.version)
    rows = (row_of(charge, arguments.version) for charge in charges)

    def into(file: IO[bytes]) -> int:
        return _WRITERS[kind](file, columns, rows)

    if arguments.output == STDOUT:
        return into(sys.stdout.buffer)
    path = Path(arguments.output)
    absent([path], force=arguments.force)
    with whole(path) as file:
        return into(file)
