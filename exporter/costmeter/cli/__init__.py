"""The command line. Each command lives in a module of its own, imported when it runs."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence

from costmeter.cli.errors import CommandError
from costmeter.cli.parser import build_parser
from costmeter.cli.settings import config_of
from costmeter.config import ConfigError
from costmeter.ledger.store import LedgerError, plain_reason
from costmeter.pricing import PriceFileError


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all is well, 1 when the command found or met trouble, 2 for wrong usage."""
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.command(arguments))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except (LedgerError, PriceFileError, CommandError) as error:
        print(f"costmeter: {error}", file=sys.stderr)
        return 1
    except sqlite3.Error as error:
        path = config_of(arguments).ledger.path
        print(f"costmeter: {plain_reason(error, path)[1]}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Somebody read enough: `costmeter cost | head`.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
