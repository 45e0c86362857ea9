"""Which exit status and which words an error of a command has."""

from __future__ import annotations

import argparse
import sqlite3

from costmeter.cli.errors import CommandError
from costmeter.cli.settings import config_of
from costmeter.config import ConfigError
from costmeter.ledger.store import LedgerError, plain_reason
from costmeter.pricing import PriceFileError


def in_words(error: Exception, arguments: argparse.Namespace) -> tuple[int, str] | None:
    """The exit status and the text for standard error; None for what nobody foresaw."""
    if isinstance(error, ConfigError):
        return 2, str(error)
    if isinstance(error, LedgerError | PriceFileError | CommandError):
        return 1, f"costmeter: {error}"
    if isinstance(error, sqlite3.Error):
        path = config_of(arguments).ledger.path
        return 1, f"costmeter: {plain_reason(error, path)[1]}"
    return None
