"""Processes by their pid, as /proc has them: what started each one, and who it belongs to."""

from __future__ import annotations

import json
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from costmeter.gpu.owners.cgroups import Origin, origin_of

_PROC = Path("/proc")
_PASSWD = Path("/etc/passwd")
#: How much of an id people read.
_SHORT = 12
_ENVIRONMENT_BYTES = 1 << 18


class Started(NamedTuple):
    """A process's origin, its user's number, and of a batch job the account that pays."""

    origin: Origin
    uid: int
    account: str = ""


class Processes:
    """Looks processes up and remembers them while they live. For one thread.

    A pid is used again sooner or later; a process is a pid and its start time.
    """

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._known: dict[int, tuple[str, Started]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, pid: int) -> Started | None:
        """None for a process that is gone or out of sight."""
        folder = self._proc / str(pid)
        try:
            stat = (folder / "stat").read_text(errors="replace")
            # The name in brackets may hold blanks and brackets; the start time is field 22.
            start = stat.rpartition(")")[2].split()[19]
            known = self._known.get(pid)
            if known is not None and known[0] == start:
                return known[1]
            origin = origin_of((folder / "cgroup").read_text(errors="replace"))
            started = Started(origin, folder.stat().st_uid, _account(folder, origin))
        except (OSError, IndexError):
            self._known.pop(pid, None)
            return None
        self._known[pid] = (start, started)
        return started

    def forget_all_but(self, pids: frozenset[int]) -> None:
        for pid in self._known.keys() - pids:
            del self._known[pid]


def _account(folder: Path, origin: Origin) -> str:
    """The account of a slurm job, where this user may read the job's environment."""
    if origin.kind != "slurm":
        return ""
    try:
        with (folder / "environ").open("rb") as file:
            environment = file.read(_ENVIRONMENT_BYTES)
    except OSError:
        return ""
    for one in environment.split(b"\0"):
        if one.startswith(b"SLURM_JOB_ACCOUNT="):
            return one.partition(b"=")[2].decode(errors="replace")
    return ""


class Names:
    """Names for people, of numbers and ids; the number or id where there is none."""

    def __init__(self, passwd: Path, docker: Path, *, host: bool = True) -> None:
        self._passwd = passwd
        self._docker = docker
        #: Directory services know users that no file has; they are asked for this host only.
        self._host = host
        self._users: dict[int, str] = {}
        self._read_at = 0

    def user(self, uid: int) -> str:
        try:
            changed = self._passwd.stat().st_mtime_ns
        except OSError:
            changed = 0
        if changed != self._read_at:
            self._users = _users(self._passwd)
            self._read_at = changed
        if uid not in self._users:
            self._users[uid] = self._of_directory(uid) or str(uid)
        return self._users[uid]

    def container(self, kind: str, identity: str) -> tuple[str, Mapping[str, str]]:
        """The name and the labels of a container; docker writes them beside its data."""
        short = identity[:_SHORT]
        if kind != "docker":
            return short, {}
        try:
            file = self._docker / "containers" / identity / "config.v2.json"
            said = json.loads(file.read_bytes())
            labels = (said.get("Config") or {}).get("Labels") or {}
            name = str(said.get("Name") or "").lstrip("/")
            return name or short, {str(key): str(value) for key, value in labels.items()}
        except (OSError, ValueError, AttributeError):
            return short, {}

    def _of_directory(self, uid: int) -> str:
        if not self._host:
            return ""
        try:
            return pwd.getpwuid(uid).pw_name
        except (KeyError, OverflowError):
            return ""


def names_of(passwd: Path, docker: Path, proc: Path) -> Names:
    return Names(passwd, docker, host=proc == _PROC and passwd == _PASSWD)


def _users(passwd: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    try:
        lines = passwd.read_text(errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        parts = line.split(":")
        if len(parts) > 2 and parts[2].isdigit():
            found.setdefault(int(parts[2]), parts[0])
    return found
