"""A configuration from its file, the environment and the flags; all mistakes at once.

Precedence: flag, environment, file, built-in default. Loading has no effect but reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from costmeter.config.checks import completed, mistakes
from costmeter.config.document import Node, Table, read_document
from costmeter.config.environment import apply_environment, apply_flags
from costmeter.config.files import open_to_everybody, unreadable
from costmeter.config.includes import with_includes
from costmeter.config.problems import Place, Reading, Wrong
from costmeter.config.records import NOTHING, Section
from costmeter.config.schema import Config


def load_config(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str] = NOTHING
) -> Config:
    """The configuration to run with; `path` None means the built-in defaults.

    `overrides` maps dotted keys ("web.listen_address") to the texts of flags.
    Raises ConfigError with every mistake of every source.
    """
    reading = Reading()
    config = Config() if path is None else _from_file(path, reading)
    config = apply_environment(config, environ, reading)
    config = apply_flags(config, overrides, reading)
    for key, text in mistakes(config):
        reading.wrong_setting(key, text)
    _look_at_files(config, reading)
    reading.raise_problems()
    return replace(completed(config), warnings=tuple(reading.warnings))


def _from_file(path: Path, reading: Reading) -> Config:
    document = read_document(path, reading)
    root: Node = Table(Place(str(path), None, path.parent)) if document is None else document
    reading.places[""] = root.place
    try:
        return Section(Config).read(with_includes(root, path, reading), "", reading)
    except Wrong as wrong:
        reading.wrong(root.place, "", str(wrong))
        return Config()


def _look_at_files(config: Config, reading: Reading) -> None:
    """Every file that the configuration names has to be there and readable."""
    for key, path in _named_files(config):
        trouble = unreadable(path)
        if trouble:
            reading.wrong_setting(key, f"{trouble}; write the path of a file that can be read")
    tokens = config.ingest.tokens_file
    if tokens is not None and open_to_everybody(tokens):
        reading.warn("ingest.tokens_file", f"{tokens} can be read by everybody: chmod o-r it")


def _named_files(config: Config) -> Iterator[tuple[str, Path]]:
    for number, price_file in enumerate(config.prices.files):
        yield f"prices.files[{number}]", price_file
    if config.ingest.tokens_file is not None:
        yield "ingest.tokens_file", config.ingest.tokens_file
    if config.web.config_file is not None:
        yield "web.config_file", config.web.config_file
