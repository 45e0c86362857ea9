"""Settings from environment variables and flags, laid over those of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from costmeter.config.problems import Place, Reading, Wrong, did_you_mean
from costmeter.config.records import ENVIRONMENT_PREFIX, Leaf, leaves
from costmeter.config.spec import changed, settings_of

#: A whole configuration: `serve`'s or the agent's.
C = TypeVar("C")
R = TypeVar("R")

#: What Kubernetes sets for a Service called costmeter-web, -ingest and so on.
_KUBERNETES = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP)(_.+)?)?)")


def apply_environment(config: C, environ: Mapping[str, str], reading: Reading) -> C:
    """Settings of `COSTMETER_<SECTION>_<KEY>`; an empty variable counts as not set."""
    if not any(variable.startswith(ENVIRONMENT_PREFIX) for variable in environ):
        return config
    known = type(config)
    by_variable = {leaf.variable: leaf for leaf in leaves(known) if leaf.setting.kind.scalar}
    in_file_only = {leaf.variable for leaf in leaves(known) if not leaf.setting.kind.scalar}
    sections = tuple(f"{ENVIRONMENT_PREFIX}{name.upper()}_" for name in settings_of(known))
    for variable, text in sorted(environ.items()):
        leaf = by_variable.get(variable)
        place = Place(variable)
        if not text:
            continue
        if leaf is not None:
            config = _set(config, leaf, text, place, reading)
        elif variable in in_file_only:
            reading.wrong(place, "", "is set, but a list can only be written in the file")
        elif variable.startswith(sections) and not _KUBERNETES.fullmatch(variable):
            hint = did_you_mean(variable, list(by_variable))
            reading.wrong(place, "", f"is set, but there is no such setting.{hint}")
    return config


def apply_flags(config: C, flags: Mapping[str, str], reading: Reading) -> C:
    """Settings by their dotted key, such as "web.listen_address"."""
    if not flags:
        return config
    by_key = {leaf.key: leaf for leaf in leaves(type(config)) if leaf.setting.kind.scalar}
    for key, text in sorted(flags.items()):
        leaf = by_key.get(key)
        if leaf is None:
            hint = did_you_mean(key, list(by_key))
            reading.wrong(Place("command line"), key[:60], f"is no setting of one value.{hint}")
            continue
        config = _set(config, leaf, text, Place(leaf.setting.flag or "command line"), reading)
    return config


def _set(config: C, leaf: Leaf, text: str, place: Place, reading: Reading) -> C:
    reading.places[leaf.key] = place
    try:
        value = leaf.setting.kind.read_text(text, Path(), reading)
    except Wrong as wrong:
        reading.wrong(place, leaf.key, str(wrong))
        return config
    return _assign(config, leaf.path, value)


def _assign(record: R, path: tuple[str, ...], value: Any) -> R:
    """A copy of nested records with one field replaced."""
    if len(path) > 1:
        value = _assign(getattr(record, path[0]), path[1:], value)
    return changed(record, **{path[0]: value})
