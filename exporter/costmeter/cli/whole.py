"""Large files that a command writes piece by piece: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from costmeter.cli.errors import CommandError

_BUFFER = 1 << 20


def absent(paths: Sequence[Path], *, force: bool) -> None:
    """Raises CommandError when one of these is there and may not be replaced."""
    try:
        there = [str(path) for path in paths if path.exists() and (path.is_dir() or not force)]
    except (OSError, ValueError) as error:
        raise CommandError(f"{paths[0]} is no file name: {error}") from None
    if there:
        raise CommandError(
            f"{', '.join(there)} is there; nothing was written. "
            "Write somewhere else, or add --force to replace a file"
        )


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name when everything is in it, and is gone otherwise.

    Raises CommandError when it cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb", buffering=_BUFFER) as file:
            yield file
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    """What this process takes away from new files; there is no way but to set it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
