"""Files that a command writes: all or none, and never over something else unasked."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from costmeter.cli.errors import CommandError

#: Where `--output` names it, the text goes to standard output.
STDOUT = "-"


class Written(NamedTuple):
    """A file to write. `mode` is what it may be opened by, as in chmod."""

    path: Path
    text: str
    mode: int = 0o644


def write_files(files: Sequence[Written], *, force: bool) -> None:
    """Write what is not there yet, and say so, a line a file.

    A file that holds the same text is left alone. One that differs stops everything
    before anything is written, unless `force`. Raises CommandError.
    """
    news = list(_news(files))
    different = [str(item.path) for item, exists in news if exists]
    if different and not force:
        raise CommandError(
            f"{', '.join(different)} would change; nothing was written. "
            "Write somewhere else, or add --force to replace what is there"
        )
    for item, _ in news:
        _write(item)
    changed = {item.path for item, _ in news}
    for item in files:
        print(f"{'wrote' if item.path in changed else 'unchanged'} {item.path}")


def _news(files: Sequence[Written]) -> Iterator[tuple[Written, bool]]:
    """Files to write, and whether something else stands there."""
    for item in files:
        try:
            if not stat.S_ISREG(item.path.stat().st_mode):
                raise CommandError(f"{item.path} cannot be written: it is not a file")
            if item.path.read_bytes() != item.text.encode():
                yield item, True
        except FileNotFoundError:
            yield item, False
        except OSError as error:
            raise CommandError(f"{item.path} cannot be written: {error.strerror}") from None
        except ValueError as error:
            raise CommandError(f"{str(item.path)!r} is no file name: {error}") from None


def _write(item: Written) -> None:
    # Through a link to the file itself, and whole or not at all.
    path = item.path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.")
        try:
            with open(handle, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 - a descriptor
                file.write(item.text)
            Path(name).chmod(item.mode & ~_umask())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CommandError(f"{item.path} cannot be written: {error.strerror}") from None


def _umask() -> int:
    """What this process takes away from new files; there is no way but to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
