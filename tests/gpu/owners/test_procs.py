"""Processes of a /proc tree, and the names of users and containers."""

from __future__ import annotations

import json
import os
from pathlib import Path

from costmeter.gpu.owners.cgroups import Origin
from costmeter.gpu.owners.pids import GONE_AFTER_MS, Pids
from costmeter.gpu.owners.procs import Names, Processes, Started
from gpu.owners.tree import write_process

ID = "4f" * 32


def test_a_process_and_what_started_it(tmp_path: Path) -> None:
    write_process(tmp_path, 42, "0::/system.slice/vllm.service", name="odd) (name 1 2 3")
    found = Processes(tmp_path).of(42)
    assert found == Started(Origin("systemd", "vllm.service"), os.getuid())


def test_a_process_is_looked_up_once(tmp_path: Path) -> None:
    write_process(tmp_path, 42, "0::/system.slice/a.service")
    processes = Processes(tmp_path)
    first = processes.of(42)
    (tmp_path / "42/cgroup").unlink()
    assert processes.of(42) is first


def test_a_pid_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    write_process(tmp_path, 42, "0::/system.slice/a.service", start=1000)
    processes = Processes(tmp_path)
    processes.of(42)
    write_process(tmp_path, 42, "0::/system.slice/b.service", start=2000)
    assert processes.of(42) == Started(Origin("systemd", "b.service"), os.getuid())


def test_what_is_gone_or_unreadable(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    assert processes.of(42) is None
    write_process(tmp_path, 42, "0::/")
    (tmp_path / "42/stat").write_text("nonsense")
    assert processes.of(42) is None
    assert len(processes) == 0


def test_only_those_that_are_asked_for_are_kept(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    for pid in (1, 2, 3):
        write_process(tmp_path, pid, "0::/")
        processes.of(pid)
    processes.forget_all_but(frozenset({2}))
    assert len(processes) == 1


def test_the_account_of_a_batch_job(tmp_path: Path) -> None:
    environment = b"PATH=/bin\0SLURM_JOB_ACCOUNT=physics\0SECRET=x\0"
    write_process(tmp_path, 1, "0::/slurm/uid_0/job_5/step_0", environment=environment)
    write_process(tmp_path, 2, "0::/system.slice/a.service", environment=environment)
    write_process(tmp_path, 3, "0::/slurm/uid_0/job_6/step_0")
    processes = Processes(tmp_path)
    found = [processes.of(pid) for pid in (1, 2, 3)]
    assert [one.account for one in found if one] == ["physics", "", ""]


def test_names_of_users_follow_the_file(tmp_path: Path) -> None:
    passwd = tmp_path / "passwd"
    names = Names(passwd, tmp_path, host=False)
    assert names.user(1000) == "1000"
    passwd.write_text("root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbroken\n")
    assert (names.user(1000), names.user(0), names.user(7)) == ("ada", "root", "7")
    passwd.write_text("grace:x:1000:1000::/home/grace:/bin/sh\n")
    os.utime(passwd, ns=(1, 1))
    assert names.user(1000) == "grace"


def test_users_of_this_host_are_asked_of_the_system(tmp_path: Path) -> None:
    assert Names(tmp_path / "none", tmp_path).user(0) == "root"


def test_docker_writes_names_and_labels(tmp_path: Path) -> None:
    names = Names(tmp_path / "passwd", tmp_path)
    assert names.container("docker", ID) == (ID[:12], {})
    folder = tmp_path / "containers" / ID
    folder.mkdir(parents=True)
    file = folder / "config.v2.json"
    file.write_text(json.dumps({"Name": "/vllm", "Config": {"Labels": {"team": "search"}}}))
    assert names.container("docker", ID) == ("vllm", {"team": "search"})
    assert names.container("podman", ID) == (ID[:12], {})
    for broken in ("[]", "{", '{"Config": null}'):
        file.write_text(broken)
        assert names.container("docker", ID) == (ID[:12], {})


def test_processes_are_looked_up_when_they_are_wanted(tmp_path: Path) -> None:
    write_process(tmp_path, 1, "0::/system.slice/a.service")
    pids = Pids(tmp_path)
    assert pids.want("GPU-a", frozenset({1})) is False
    assert pids.refresh(0) is True
    assert pids.want("GPU-a", frozenset({1})) is True
    assert pids.want("GPU-b", frozenset({1, 2})) is False
    assert pids.refresh(1000) is False
    assert pids.refresh(1000 + GONE_AFTER_MS) is True
    assert pids.found[2] is None
    write_process(tmp_path, 2, "0::/")
    pids.refresh(5000)
    assert pids.found[2] is not None
    pids.want("GPU-b", frozenset())
    pids.refresh(6000)
    assert pids.found.keys() == {1}
