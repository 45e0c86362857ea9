"""Whatever stands in a file or a variable: a configuration or ConfigError, nothing else."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from costmeter.config import Config, ConfigError, Problem, load_config, load_tokens, load_web_config
from costmeter.config.records import Records, Section, leaves
from costmeter.config.schema import Config as Schema
from costmeter.config.spec import settings_of
from costmeter.config.tls import Tls
from costmeter.config.tokens import TokenEntry
from costmeter.config.web_config import Headers, WebFile

LEAVES = list(leaves(Schema))
ODD = ["", "0", "-1", "1e400", "nan", "true", "null", "~", "07", "UTC", "any", "default", ".", "a"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from(ODD),
)


def keys_of(*records: type) -> list[str]:
    """Every key that any of the records knows, so that the fuzzing gets somewhere."""
    found: list[str] = ["<<", "include", "token", "cert", "rate_limit"]
    for record in records:
        for setting in settings_of(record).values():
            found.append(setting.key)
            if isinstance(setting.kind, Section | Records):
                found += keys_of(setting.kind.record)
    return sorted(set(found))


KEYS = keys_of(Schema, TokenEntry, WebFile, Tls, Headers)
keys = st.one_of(st.sampled_from(KEYS), st.text(max_size=5))
structures = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=6)),
    max_leaves=20,
)


def likely(record: type) -> st.SearchStrategy[Any]:
    """Mappings of the right shape with mostly wrong values in them."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for setting in settings_of(record).values():
        kind = setting.kind
        if isinstance(kind, Section):
            fields[setting.key] = likely(kind.record)
        elif isinstance(kind, Records):
            fields[setting.key] = st.lists(likely(kind.record), max_size=3)
        else:
            fields[setting.key] = st.one_of(scalars, st.lists(scalars, max_size=3))
    return st.fixed_dictionaries({}, optional=fields)


#: Pieces that YAML gives a meaning to, next to each other as nobody would write them.
yaml_text = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "\n",
                "  ",
                "\t",
                ": ",
                "- ",
                "[",
                "]",
                "{",
                "}",
                ", ",
                "&a ",
                "*a",
                "!!",
                "!x ",
                "#",
                "'",
                '"',
                "|\n",
                ">\n",
                "? ",
                "---\n",
                "...\n",
                "%YAML 1.1\n",
                "<<: ",
                "\\",
                "\x00",
                "\r",
                "\x85",
                "\u2028",
                "\ufeff",
                "\ud7ff",
                "\U0010ffff",
                *KEYS,
                *ODD,
            ]
        ),
        st.text(max_size=4),
    ),
    max_size=40,
).map("".join)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def attempt(load: Callable[[], object]) -> tuple[object | None, tuple[Problem, ...]]:
    """What was loaded, or else the problems. Any other exception fails the test."""
    try:
        return load(), ()
    except ConfigError as error:
        return None, error.problems


def load_either_way(load: Callable[[Path], object], raw: bytes) -> object | None:
    """What the loader makes of a file; it must not leave anything behind."""
    with folder() as where:
        path = where / "file.yml"
        path.write_bytes(raw)
        loaded, refused = attempt(lambda: load(path))
        assert (loaded is None) == bool(refused)
        assert all(problem.text and problem.where for problem in refused)
        "\n".join(map(str, refused)).encode()  # an error that cannot be printed helps nobody
        assert os.listdir(where) == ["file.yml"]  # noqa: PTH208
        assert path.read_bytes() == raw
    return loaded


LOADERS = st.sampled_from([lambda path: load_config(path, {}), load_tokens, load_web_config])


@settings(deadline=None)
@given(LOADERS, yaml_text)
@example(load_tokens, '"\\UFFFFFFFF"')
@example(load_web_config, "basic_auth_users:\n  ? |\n   a\n  : 1")
def test_any_text(load: Callable[[Path], object], text: str) -> None:
    load_either_way(load, text.encode("utf-8", "surrogatepass"))


@settings(deadline=None)
@given(LOADERS, st.binary(max_size=200))
def test_any_bytes(load: Callable[[Path], object], raw: bytes) -> None:
    load_either_way(load, raw)


@settings(deadline=None)
@given(LOADERS, structures)
def test_any_structure(load: Callable[[Path], object], structure: object) -> None:
    load_either_way(load, json.dumps(structure).encode())


@settings(deadline=None, max_examples=100)
@given(likely(Schema))
def test_any_configuration_of_the_right_shape(structure: object) -> None:
    loaded = load_either_way(lambda path: load_config(path, {}), json.dumps(structure).encode())
    if loaded is not None:
        assert isinstance(loaded, Config)
        assert isinstance(loaded.budgets.monthly_nano, int | None)
        assert loaded.scopes[-1].match.everything


@settings(deadline=None)
@given(st.lists(likely(TokenEntry), max_size=3))
def test_any_tokens_of_the_right_shape(structure: object) -> None:
    load_either_way(load_tokens, json.dumps(structure).encode())


@settings(deadline=None)
@given(
    st.dictionaries(
        st.one_of(st.sampled_from([leaf.variable for leaf in LEAVES]), st.text(max_size=8)),
        st.one_of(st.text(), st.sampled_from(ODD), st.integers().map(str)),
        max_size=5,
    ),
    st.dictionaries(
        st.one_of(st.sampled_from([leaf.key for leaf in LEAVES]), st.text(max_size=8)),
        st.one_of(st.text(), st.sampled_from(ODD)),
        max_size=3,
    ),
)
def test_any_environment_and_flags(environ: Mapping[str, str], flags: Mapping[str, str]) -> None:
    loaded, refused = attempt(lambda: load_config(None, environ, flags))
    assert isinstance(loaded, Config) or refused
