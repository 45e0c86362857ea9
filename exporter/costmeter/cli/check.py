"""`check-config` and `token`."""

from __future__ import annotations

import argparse

from costmeter.cli.settings import config_of
from costmeter.config import load_tokens, load_web_config, new_token
from costmeter.ledger.periods import Calendar
from costmeter.pricing import load_price_book


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
    load_price_book(config.prices.files)
    Calendar(config.ledger.reporting_timezone)
    for warning in warnings:
        print(f"warning: {warning}")
    source = arguments.config_file or "the built-in default"
    print(f"{source} is fine")
    return 0


def token(arguments: argparse.Namespace) -> int:
    """A new random token; only its hash belongs in the file."""
    del arguments
    secret, digest = new_token()
    print(f"token (give it to the sender, it is shown once):\n  {secret}\n")
    print(f"entry for the file of tokens:\n  - name: NAME\n    sha256: {digest}")
    return 0
