"""AWS Data Exports in S3: which files are the newest whole delivery of each billing period.

A delivery is complete when its manifest is written, to
`<prefix>/<export>/metadata/BILLING_PERIOD=2026-11/`, below a folder of its own where the
export keeps every delivery. The manifest names the data files; only these are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from costmeter.sources.contract import Desk, Settings, SourceError
from costmeter.sources.files.places import Found, bucket_of, nothing
from costmeter.sources.files.s3 import Bucket
from costmeter.sources.options import Options
from costmeter.sources.reading import malformed, parse

_MANIFEST = re.compile(
    r".*/metadata/billing_period=(?P<period>[0-9]{4}-[0-9]{2})/.*manifest\.json", re.IGNORECASE
)
_MOST_MANIFEST = 32 << 20
_MOST_PARTS = 10_000


class Exports:
    def __init__(self, settings: Settings, options: Options) -> None:
        """Raises ValueError for settings that do not go together."""
        path = options.word("path", "")
        if not path.startswith("s3://"):
            raise ValueError(
                "option path is missing; write the export's folder, "
                "like path=s3://bucket/prefix/export-name"
            )
        self._where = path.rstrip("/")
        self._name, self._prefix = bucket_of(self._where)
        self._bucket = Bucket(settings, options, self._name)
        #: By period, the mark of the manifest that was read, and what it names.
        self._known: dict[str, tuple[str, list[Found]]] = {}

    def files(self, desk: Desk) -> list[Found]:
        newest: dict[str, tuple[float, str, str]] = {}
        for key, mark, written in self._bucket.list(desk, f"{self._prefix}/metadata/"):
            found = _MANIFEST.fullmatch(key)
            if found is not None:
                period = found["period"]
                newest[period] = max(newest.get(period, (0.0, "", "")), (written, key, mark))
        if not newest:
            raise nothing(f"{self._where}/metadata/BILLING_PERIOD=.../...Manifest.json")
        for period in self._known.keys() - newest.keys():
            del self._known[period]
        for period, (_, key, mark) in sorted(newest.items()):
            # The mark of a delivery that was written anew differs, whatever is in it.
            whole = f"{key} {mark}"
            if period not in self._known or self._known[period][0] != whole:
                self._known[period] = (whole, self._parts(key, whole, desk))
        return [found for _, parts in self._known.values() for found in parts]

    def _parts(self, key: str, mark: str, desk: Desk) -> list[Found]:
        with self._bucket.open(key, desk) as path:
            if path.stat().st_size > _MOST_MANIFEST:
                raise SourceError("too_large", f"{key} is too large for a manifest")
            manifest = parse(path.read_bytes())
        named = manifest.get("dataFiles", manifest.get("reportKeys"))
        if not isinstance(named, list) or not all(isinstance(n, str) and n for n in named):
            raise malformed(key, "names no dataFiles")
        if len(named) > _MOST_PARTS:
            raise SourceError("too_large", f"{key} names more than {_MOST_PARTS} files")
        return [Found(self._key(name), mark) for name in dict.fromkeys(named)]

    def _key(self, name: str) -> str:
        if not name.startswith("s3://"):
            return name.lstrip("/")
        bucket, _, key = name.removeprefix("s3://").partition("/")
        if bucket != self._name:
            raise malformed("dataFiles", f"name another bucket, {bucket}")
        return key

    @contextmanager
    def open(self, found: Found, desk: Desk) -> Iterator[Path]:
        with self._bucket.open(found.name, desk) as path:
            yield path
