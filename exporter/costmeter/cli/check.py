"""`check-config` and `token`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from costmeter.cli.errors import CommandError
from costmeter.cli.pseudonyms import pseudonyms_of
from costmeter.cli.settings import config_of
from costmeter.config import load_tokens, load_web_config, new_token
from costmeter.engine.currencies import exchange_of
from costmeter.engine.fixed_costs import entries_of
from costmeter.engine.pollers import source_of
from costmeter.engine.terms import price_book
from costmeter.ledger.periods import Calendar

#: What `costmeter init` writes unless told otherwise. Nothing reads it by itself.
_USUAL = Path("costmeter.yml")


def check(arguments: argparse.Namespace) -> int:
    """Read everything the configuration names, as a start would."""
    if arguments.file is not None:
        arguments.config_file = arguments.file
    config = config_of(arguments)
    warnings = list(config.warnings)
    if config.ingest.tokens_file is not None:
        warnings += load_tokens(config.ingest.tokens_file).warnings
    if config.web.config_file is not None:
        load_web_config(config.web.config_file)
    try:
        entries_of(config, price_book(config), exchange_of(config))
    except ValueError as error:
        raise CommandError(str(error)) from None
    pseudonyms_of(config)
    for entry in config.sources:
        try:
            source_of(entry)
        except ValueError as error:
            raise CommandError(f"sources: {error}") from None
    Calendar(config.ledger.reporting_timezone)
    for warning in warnings:
        print(f"warning: {warning}")
    if arguments.config_file is not None:
        print(f"{arguments.config_file} is fine")
        return 0
    print("the built-in default is fine")
    if _USUAL.exists():
        print(
            f"{_USUAL} was not looked at; write: costmeter check-config {_USUAL}", file=sys.stderr
        )
    return 0


def token(arguments: argparse.Namespace) -> int:
    """A new random token; only its hash belongs in the file."""
    del arguments
    secret, digest = new_token()
    print(f"token (give it to the sender, it is shown once):\n  {secret}\n")
    print(f"entry for the file of tokens:\n  - name: NAME\n    sha256: {digest}")
    return 0
