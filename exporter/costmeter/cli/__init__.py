"""The command line. Each command lives in a module of its own, imported when it runs."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from costmeter.cli.parser import build_parser


def main(argv: Sequence[str] | None = None) -> int:
    """0 when all is well, 1 when the command found or met trouble, 2 for wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name may hold bytes that are no text; saying it must not fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return _answer(argv)
        finally:
            # Here, and not when the process is gone, so that what goes wrong is said.
            sys.stdout.flush()
    except BrokenPipeError:
        # Somebody read enough: `costmeter cost | head`. The rest goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"costmeter: {name}{error.strerror or error}", file=sys.stderr)
        return 1


def _answer(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else argv
    arguments = build_parser(words[0] if words else "").parse_args(words)
    try:
        return int(arguments.command(arguments))
    except UnicodeEncodeError:
        print("costmeter: an argument holds bytes that are no UTF-8 text", file=sys.stderr)
        return 2
    except OSError:
        raise
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        # Late: what the errors of every room are is of interest only when there is one.
        from costmeter.cli.trouble import in_words

        said = in_words(error, arguments)
        if said is None:
            raise
        code, text = said
        print(text, file=sys.stderr)
        return code
