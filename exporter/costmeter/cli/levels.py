"""What may follow what on the command line, read from the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: Metavars of values that name a file or a folder; so does the type Path.
_FILES = frozenset({"FILE", "DIR"})


class Flag(NamedTuple):
    """A flag with its spellings. `files` and `words` are what its value may be."""

    names: tuple[str, ...]
    about: str
    takes_value: bool
    words: tuple[str, ...]
    files: bool


class Level(NamedTuple):
    """A command with what may follow it: () is `costmeter` itself."""

    path: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]
    flags: tuple[Flag, ...]
    words: tuple[str, ...]
    files: bool


def levels_of(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Level]:
    """Every command of a parser, outer ones first."""
    commands: list[tuple[str, str]] = []
    inner: list[tuple[str, argparse.ArgumentParser]] = []
    flags: list[Flag] = []
    words: list[str] = []
    files = False
    for action in parser._actions:  # noqa: SLF001 - argparse has no public walk
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            inner = list(action.choices.items())
            about = {item.dest: item.help or "" for item in action._choices_actions}  # noqa: SLF001
            commands = [(name, about.get(name, "")) for name, _ in inner]
        elif action.option_strings:
            if action.help != argparse.SUPPRESS:
                flags.append(_flag(action))
        else:
            words += _words(action)
            files = files or _is_file(action)
    yield Level(path, tuple(commands), tuple(flags), tuple(words), files)
    for name, child in inner:
        yield from levels_of(child, (*path, name))


def _flag(action: argparse.Action) -> Flag:
    return Flag(
        tuple(action.option_strings),
        action.help or "",
        action.nargs != 0,
        tuple(_words(action)),
        _is_file(action),
    )


def _words(action: argparse.Action) -> Iterator[str]:
    yield from (str(choice) for choice in action.choices or ())


def _is_file(action: argparse.Action) -> bool:
    return action.type is Path or action.metavar in _FILES
