"""What the meter of this machine remembers over a restart: a small file.

For each GPU it holds up to when its time is accounted for, so that the time without a meter
can be booked as unobserved, and the segments that were handed out and perhaps not booked,
so that they are offered again under the same names. Steady time counts from the start of the
machine: after another one, the ends mean nothing, and nobody knows whether the GPUs had power.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from costmeter.gpu.segments import End
from costmeter.segment import Owner, Placement, Segment, Share

log = logging.getLogger("costmeter.gpu")

_VERSION = 1


def boot_id() -> str:
    """A name for the time since the machine started; "" where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Gaps:
    """The file at `path`. One writer; a file that cannot be used is said in the log once.

    `ends` is what the last process left, empty after another start of the machine; `segments`
    is what it handed out and nobody confirmed.
    """

    def __init__(self, path: Path, boot: str | None = None) -> None:
        self._path = path
        self._boot = boot_id() if boot is None else boot
        self._failed = False
        self.ends: Mapping[str, End] = {}
        self.segments: Sequence[Segment] = ()
        self._read()

    def keep(self, ends: Mapping[str, End], segments: Sequence[Segment], *, durable: bool) -> None:
        """Replace what is remembered; with `durable` it is on the disk when this returns."""
        document = {
            "version": _VERSION,
            "boot": self._boot,
            "ends": ends,
            "segments": [_plain(segment) for segment in segments],
        }
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            with new.open("w", encoding="utf-8") as file:
                json.dump(document, file, separators=(",", ":"))
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            new.replace(self._path)
            if durable:
                _sync_folder(self._path.parent)
        except OSError as error:
            if not self._failed:
                log.warning(
                    "%s cannot be written (%s); after a restart the time without a meter is not "
                    "booked, and segments that were not booked by then are lost",
                    self._path,
                    error.strerror,
                )
            self._failed = True
        else:
            self._failed = False

    def _read(self) -> None:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            if document["version"] != _VERSION:
                raise ValueError(f"version {document['version']}")  # noqa: TRY301
            segments = [_segment(plain) for plain in document["segments"]]
            ends = {str(uuid): End(int(a), int(b)) for uuid, (a, b) in document["ends"].items()}
            same_boot = bool(self._boot) and document["boot"] == self._boot
        except FileNotFoundError:
            return
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning(
                "%s cannot be read (%s); the time since the last stop is not booked",
                self._path,
                error,
            )
            with contextlib.suppress(OSError):
                self._path.replace(self._path.with_name(f"{self._path.name}.broken"))
            return
        self.segments = segments
        if same_boot:
            self.ends = ends


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(segment: Segment) -> list[Any]:
    return [*segment[:6], astuple(segment.placement), segment.shares]


def _segment(plain: list[Any]) -> Segment:
    run_id, sequence, start_ms, duration_ms, uuid, gpu_model, where, shares = plain
    provider, account, region, instance_type, purchase, node, owner = where
    return Segment(
        str(run_id),
        int(sequence),
        int(start_ms),
        int(duration_ms),
        str(uuid),
        str(gpu_model),
        Placement(provider, account, region, instance_type, purchase, node, Owner(*owner)),
        tuple(Share(Owner(*share[0]), *share[1:]) for share in shares),
    )
