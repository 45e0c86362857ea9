"""A process's cgroup says what started it: a pod, a container, a batch job, a service.

Paths as container runtimes, slurm and systemd make them, of cgroup v1 and v2 alike.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_ID = r"[0-9a-f]{64}"
#: cgroupfs: kubepods/burstable/pod<uid>/<id>; systemd: kubepods-burstable-pod<uid>.slice/
#: <runtime>-<id>.scope. A static pod's uid is a digest without hyphens.
_POD = re.compile(
    r"kubepods.*?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?"
    rf"(?:/(?:[a-z-]+-)?({_ID})(?:\.scope)?)?(?:/|$)"
)
#: The slice of the pod is out of sight when the reader is itself in a pod's namespace.
_CRI = re.compile(rf"/(?:cri-containerd-|crio-)({_ID})\.scope(?:/|$)")
_SLURM = re.compile(r"/(?:slurm[^/]*|[^/]*slurmstepd\.scope)/(?:uid_\d+/)?job_(\d+)(?:/|$)")
_CONTAINERS = (
    ("docker", re.compile(rf"/(?:docker/|docker-)({_ID})(?:\.scope)?(?:/|$)")),
    ("podman", re.compile(rf"/libpod-({_ID})(?:\.scope)?(?:/|$)")),
    ("containerd", re.compile(rf"/(?:nerdctl-|containerd-|[\w.-]+/)({_ID})(?:\.scope)?(?:/|$)")),
)
_LXC = re.compile(r"/lxc(?:\.payload\.|/)([^/]+)")
_USER = re.compile(r"/user-(\d+)\.slice(?:/|$)")
_UNIT = re.compile(r"/([^/]+\.(?:service|scope))(?=/|$)")


class Origin(NamedTuple):
    """`kind` is pod, docker, podman, containerd, lxc, slurm, systemd or user.

    `name` is the pod's uid ("" where only the container is known), the container's id, the
    job, the unit, or the number of the user ("" for the process's own). `container` is a
    pod's container id.
    """

    kind: str
    name: str = ""
    container: str = ""


def origin_of(text: str) -> Origin:
    """Of the lines of /proc/<pid>/cgroup, whichever controller says the most."""
    paths = [line.split(":", 2)[2] for line in text.splitlines() if line.count(":") >= 2]
    return min((_of_path(path) for path in paths), key=_rank, default=Origin("user"))


def _rank(origin: Origin) -> int:
    order = ("pod", "slurm", "docker", "podman", "containerd", "lxc", "systemd", "user")
    return 2 * order.index(origin.kind) + (not origin.name)


def _of_path(path: str) -> Origin:
    if pod := _POD.search(path):
        return Origin("pod", pod[1].replace("_", "-"), pod[2] or "")
    if cri := _CRI.search(path):
        return Origin("pod", "", cri[1])
    if job := _SLURM.search(path):
        return Origin("slurm", job[1])
    for kind, pattern in _CONTAINERS:
        if container := pattern.search(path):
            return Origin(kind, container[1])
    if lxc := _LXC.search(path):
        return Origin("lxc", lxc[1])
    if user := _USER.search(path):
        return Origin("user", user[1])
    units = _UNIT.findall(path)
    return Origin("systemd", units[-1]) if units else Origin("user")
