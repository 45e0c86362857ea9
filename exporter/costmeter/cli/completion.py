"""`costmeter completion bash|zsh|fish`: completion of commands, flags and their values.

The script is written from the parser, so it knows what this version knows; nothing of
costmeter runs while somebody types.
"""

from __future__ import annotations

import argparse

from costmeter.cli import shells
from costmeter.cli.levels import levels_of
from costmeter.cli.parser import build_parser


def completion(arguments: argparse.Namespace) -> int:
    levels = list(levels_of(build_parser()))
    script = {"bash": shells.bash, "zsh": shells.zsh, "fish": shells.fish}[arguments.shell]
    print(script(levels), end="")
    return 0
