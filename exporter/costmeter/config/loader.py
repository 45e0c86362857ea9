"""A configuration from its file, the environment and the flags; all mistakes at once.

Precedence: flag, environment, file, built-in default. Loading has no effect but reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from costmeter.config.checks import completed, mistakes
from costmeter.config.costs import left_out
from costmeter.config.files import open_to_everybody, unreadable
from costmeter.config.layers import layered
from costmeter.config.problems import Reading
from costmeter.config.records import NOTHING
from costmeter.config.schema import Config


def load_config(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str] = NOTHING
) -> Config:
    """The configuration to run with; `path` None means the built-in defaults.

    `overrides` maps dotted keys ("web.listen_address") to the texts of flags.
    Raises ConfigError with every mistake of every source.
    """
    reading = Reading()
    config = layered(Config, path, environ, overrides, reading)
    for key, text in mistakes(config):
        reading.wrong_setting(key, text)
    for key, text in left_out(config):
        reading.warn(key, text)
    _look_at_files(config, reading)
    reading.raise_problems()
    return replace(completed(config), warnings=tuple(reading.warnings))


def _look_at_files(config: Config, reading: Reading) -> None:
    """Every file that the configuration names has to be there and readable."""
    for key, path in _named_files(config):
        trouble = unreadable(path)
        if trouble:
            reading.wrong_setting(key, f"{trouble}; write the path of a file that can be read")
    for key, secret in (
        ("ingest.tokens_file", config.ingest.tokens_file),
        ("ingest.pseudonym_key_file", config.ingest.pseudonym_key_file),
        *(
            (f"sources[{number}].key_file", source.key_file)
            for number, source in enumerate(config.sources)
        ),
    ):
        if secret is not None and open_to_everybody(secret):
            reading.warn(key, f"{secret} can be read by everybody: chmod o-r it")


def _named_files(config: Config) -> Iterator[tuple[str, Path]]:
    if config.currencies.rates_file is not None:
        yield "currencies.rates_file", config.currencies.rates_file
    for number, price_file in enumerate(config.prices.files):
        yield f"prices.files[{number}]", price_file
    if config.ingest.tokens_file is not None:
        yield "ingest.tokens_file", config.ingest.tokens_file
    if config.ingest.pseudonym_key_file is not None:
        yield "ingest.pseudonym_key_file", config.ingest.pseudonym_key_file
    if config.web.config_file is not None:
        yield "web.config_file", config.web.config_file
    for number, source in enumerate(config.sources):
        if source.key_file is not None and source.enabled:
            yield f"sources[{number}].key_file", source.key_file
