"""Owners on a plain host, over a /proc tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from costmeter.gpu.claims import Claim
from costmeter.gpu.owners.processes import ProcessClaims
from costmeter.gpu.owners.settings import OwnerSettings
from costmeter.gpu.readings import GpuProcess
from costmeter.segment import NOBODY, Owner
from fakes.clock import FakeClock
from gpu.owners.tree import reading, until, uuid, write_process

DOCKER = "4f" * 32


class Host:
    def __init__(self, folder: Path, default: Owner = NOBODY) -> None:
        self.clock = FakeClock()
        self.proc = folder / "proc"
        (folder / "passwd").write_text("ada:x:1000:1000::/:/bin/sh\n")
        settings = OwnerSettings(
            default=default, proc=self.proc, passwd=folder / "passwd", docker=folder / "docker"
        )
        self.claims = ProcessClaims(settings, self.clock)

    def run(self, pid: int, cgroup: str, start: int = 1000) -> None:
        write_process(self.proc, pid, f"0::{cgroup}", start=start)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def owners(found: tuple[Claim, ...] | None) -> dict[str, set[int]]:
    assert found is not None
    return {one.owner.workload: set(one.pids) for one in found}


def test_processes_by_what_started_them(host: Host) -> None:
    host.run(1, f"/docker/{DOCKER}")
    host.run(2, f"/docker/{DOCKER}")
    host.run(3, "/system.slice/vllm.service")
    host.run(4, "/slurm/uid_1000/job_77/step_0")
    host.run(5, "/user.slice/user-1000.slice/session-1.scope")
    gpu = reading(0, 1, 2, 3, 4, 5)
    assert host.claims.of(gpu) is None
    host.claims.refresh()
    assert owners(host.claims.of(gpu)) == {
        f"docker:{DOCKER[:12]}": {1, 2},
        "systemd:vllm.service": {3},
        "slurm:77": {4},
        "user:ada": {5},
    }
    assert host.claims.health().holders == 4


def test_free_and_unknowable(host: Host) -> None:
    assert host.claims.of(reading(0)) == ()
    assert host.claims.of(reading(0, processes=None)) is None


def test_each_instance_has_its_own_owners(host: Host) -> None:
    host.run(1, "/system.slice/a.service")
    instance = uuid(1, "MIG")
    on = (GpuProcess(1, instance=instance), GpuProcess(1, instance=""))
    host.claims.of(reading(0, migs=2, processes=on))
    host.claims.refresh()
    found = host.claims.of(reading(0, migs=2, processes=on))
    assert found is not None
    assert [one.instance for one in found] == ["", instance]


def test_a_new_process_leaves_all_as_it_was_for_a_moment(host: Host) -> None:
    host.run(1, "/system.slice/a.service")
    host.claims.of(reading(0, 1))
    host.claims.refresh()
    before = host.claims.of(reading(0, 1))
    host.run(2, "/system.slice/b.service")
    assert host.claims.of(reading(0, 1, 2)) == before
    host.claims.refresh()
    assert owners(host.claims.of(reading(0, 1, 2))) == {
        "systemd:a.service": {1}, "systemd:b.service": {2},
    }  # fmt: skip


def test_a_process_that_nobody_can_see_belongs_to_whoever_is_configured(tmp_path: Path) -> None:
    host = Host(tmp_path, Owner("acme"))
    gpu = reading(0, 666)
    host.claims.of(gpu)
    assert host.claims.refresh() == 1
    assert host.claims.of(gpu) is None
    host.clock.advance(3)
    assert host.claims.refresh() == 5
    assert host.claims.of(gpu) == (Claim(Owner("acme"), "", frozenset({666})),)


def test_a_pid_that_is_used_again(host: Host) -> None:
    host.run(1, "/system.slice/a.service")
    host.claims.of(reading(0, 1))
    host.claims.refresh()
    host.run(1, "/system.slice/b.service", start=2000)
    host.claims.refresh()
    assert owners(host.claims.of(reading(0, 1))) == {"systemd:b.service": {1}}


def test_what_is_known_is_not_believed_for_ever(host: Host) -> None:
    host.run(1, "/system.slice/a.service")
    host.claims.of(reading(0, 1))
    host.claims.refresh()
    assert host.claims.of(reading(0, 1)) is not None
    host.clock.advance(299)
    assert host.claims.of(reading(0, 1, 2)) is not None
    host.clock.advance(2)
    assert host.claims.of(reading(0, 1, 2)) is None


def test_in_its_own_thread(host: Host) -> None:
    host.run(1, "/system.slice/a.service")
    host.claims.start()
    until(lambda: host.claims.of(reading(0, 1)))
    host.claims.stop()
    assert owners(host.claims.of(reading(0, 1))) == {"systemd:a.service": {1}}
