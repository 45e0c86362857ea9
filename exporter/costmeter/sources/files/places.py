"""Where files lie: on this machine, in S3, in Google Cloud Storage."""

from __future__ import annotations

import glob
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple, Protocol

from costmeter.sources.contract import Desk, Settings, SourceError
from costmeter.sources.options import Options

_BUCKET = re.compile(r"(?P<scheme>s3|gs)://(?P<bucket>[a-z0-9][a-z0-9._-]{1,220})/(?P<key>.+)")
_ENDS = (".csv", ".csv.gz", ".csv.zip", ".zip", ".parquet", ".pq", ".gz")
_MOST_FILES = 20_000


class Found(NamedTuple):
    """A file, and a mark that changes whenever what is in it may have."""

    name: str
    mark: str


class Place(Protocol):
    def files(self, desk: Desk, /) -> list[Found]:
        """What is there now; raises SourceError, also where there is nothing."""
        ...

    @contextmanager
    def open(self, found: Found, desk: Desk, /) -> Iterator[Path]:
        """The file on this machine, for as long as it is read; raises SourceError."""
        ...


def place_of(settings: Settings, options: Options) -> Place:
    """By the option path; raises ValueError with what to write instead."""
    path = options.word("path", "")
    if not path:
        raise ValueError(
            "option path is missing; write one like path=/bills/*.parquet, "
            "path=s3://bucket/bills/*.csv.gz or path=gs://bucket/bills/*.csv"
        )
    if "://" not in path:
        if settings.secret.named or settings.base_url:
            raise ValueError("files on this machine need neither a key nor a base_url")
        return Local(path)
    bucket, key = bucket_of(path)
    if path.startswith("s3://"):
        from costmeter.sources.files.s3 import S3

        return S3(settings, options, bucket, key)
    from costmeter.sources.files.gcs import Gcs

    return Gcs(settings, options, bucket, key)


def bucket_of(path: str) -> tuple[str, str]:
    """Bucket and key of s3://bucket/key or gs://bucket/key; raises ValueError."""
    found = _BUCKET.fullmatch(path)
    if found is None:
        raise ValueError(f"path {path} is none; write one like s3://bucket/bills/*.csv.gz")
    return found["bucket"], found["key"]


def fixed_part(pattern: str) -> str:
    """What stands before the first character that stands for others."""
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]


def matches(key: str, pattern: str) -> bool:
    """A pattern that ends with / takes every bill below it. `*` does not stop at a /."""
    if pattern.endswith("/"):
        return key.startswith(pattern) and key.lower().endswith(_ENDS)
    return fnmatchcase(key, pattern)


def nothing(where: str) -> SourceError:
    """Nothing there is more likely a wrong path than a bill that was taken back."""
    return SourceError("request", f"no file at {where}; the bill is left as it was")


def not_too_many(found: list[Found], where: str) -> list[Found]:
    if not found:
        raise nothing(where)
    if len(found) > _MOST_FILES:
        raise SourceError("too_large", f"more than {_MOST_FILES} files at {where}")
    return sorted(found)


@contextmanager
def scratch() -> Iterator[Path]:
    """A file that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="costmeter-") as folder:
        yield Path(folder) / "bill"


class Local:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def files(self, _desk: Desk) -> list[Found]:
        pattern = self._pattern
        if Path(pattern).is_dir():
            below = (str(path) for path in Path(pattern).rglob("*"))
            names = [name for name in below if name.lower().endswith(_ENDS)]
        else:
            names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - it may be absolute
        found = [Found(name, mark) for name in names if (mark := _mark(name)) is not None]
        return not_too_many(found, pattern)

    @contextmanager
    def open(self, found: Found, _desk: Desk) -> Iterator[Path]:
        try:
            yield Path(found.name)
        except OSError as error:
            raise SourceError("request", f"{found.name} cannot be read: {error.strerror}") from None
        if _mark(found.name) != found.mark:
            raise SourceError(
                "malformed", f"{found.name} changed while it was read; it is read again"
            )


def _mark(name: str) -> str | None:
    try:
        said = Path(name).stat()
    except OSError:
        return None
    if not stat.S_ISREG(said.st_mode):
        return None
    return f"{said.st_size} {said.st_mtime_ns} {said.st_ino}"
