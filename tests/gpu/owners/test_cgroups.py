"""What started a process, by its cgroup: the paths that runtimes make."""

from __future__ import annotations

import pytest

from costmeter.gpu.owners.cgroups import Origin, origin_of

ID = "4f" * 32
UID = "8f6d2c1a-0b3e-4c5d-9e7f-a1b2c3d4e5f6"
FLAT = UID.replace("-", "_")
STATIC = "0123456789abcdef" * 2

SLICE = f"/kubepods.slice/kubepods-pod{FLAT}.slice"
BURST = "/kubepods.slice/kubepods-burstable.slice"
KIND = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice"
HOME = "/user.slice/user-1000.slice/user@1000.service"

CASES = {
    f"/kubepods/burstable/pod{UID}/{ID}": Origin("pod", UID, ID),
    f"/kubepods/pod{STATIC}/{ID}": Origin("pod", STATIC, ID),
    f"{BURST}/kubepods-burstable-pod{FLAT}.slice/cri-containerd-{ID}.scope":
        Origin("pod", UID, ID),
    f"{SLICE}/crio-{ID}.scope": Origin("pod", UID, ID),
    f"{SLICE}/crio-{ID}.scope/container": Origin("pod", UID, ID),
    f"{SLICE}/docker-{ID}.scope": Origin("pod", UID, ID),
    f"{KIND}/kubelet-kubepods-besteffort-pod{FLAT}.slice/cri-containerd-{ID}.scope":
        Origin("pod", UID, ID),
    f"/docker/{'aa' * 32}/kubelet/kubepods/besteffort/pod{UID}/{ID}": Origin("pod", UID, ID),
    f"/../../kubepods-pod{FLAT}.slice/cri-containerd-{ID}.scope": Origin("pod", UID, ID),
    f"/../cri-containerd-{ID}.scope": Origin("pod", "", ID),
    f"/docker/{ID}": Origin("docker", ID),
    f"/docker/{ID}/docker/{'aa' * 32}": Origin("docker", ID),
    f"/system.slice/docker-{ID}.scope": Origin("docker", ID),
    f"{HOME}/user.slice/docker-{ID}.scope": Origin("docker", ID),
    f"/machine.slice/libpod-{ID}.scope/container": Origin("podman", ID),
    f"{HOME}/user.slice/libpod-{ID}.scope": Origin("podman", ID),
    f"/libpod_parent/libpod-{ID}": Origin("podman", ID),
    f"/default/{ID}": Origin("containerd", ID),
    f"/system.slice/nerdctl-{ID}.scope": Origin("containerd", ID),
    "/slurm/uid_1000/job_123/step_0/task_0": Origin("slurm", "123"),
    "/slurm_node-1/uid_1000/job_77/step_batch": Origin("slurm", "77"),
    "/system.slice/slurmstepd.scope/job_88/step_batch/user/task_0": Origin("slurm", "88"),
    "/system.slice/node-1_slurmstepd.scope/job_99/step_extern/user": Origin("slurm", "99"),
    "/lxc/box/init.scope": Origin("lxc", "box"),
    "/lxc.payload.box/system.slice/a.service": Origin("lxc", "box"),
    "/system.slice/vllm@llama.service": Origin("systemd", "vllm@llama.service"),
    "/ml.slice/ml-train.slice/train.service": Origin("systemd", "train.service"),
    "/user.slice/user-1000.slice/session-3.scope": Origin("user", "1000"),
    f"{HOME}/app.slice/jupyter.service": Origin("user", "1000"),
    "/": Origin("user"),
    "/init.scope": Origin("systemd", "init.scope"),
}  # fmt: skip


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.replace(ID, "ID")[-60:])
def test_paths(path: str) -> None:
    assert origin_of(f"0::{path}\n") == CASES[path]


def test_of_several_controllers_the_one_that_says_most() -> None:
    lines = (
        "12:pids:/user.slice/user-1000.slice/session-3.scope\n"
        f"11:devices:/docker/{ID}\n"
        "10:cpuset:/\n"
        "1:name=systemd:/system.slice/docker.service\n"
        "0::/\n"
    )
    assert origin_of(lines) == Origin("docker", ID)
    assert origin_of("4:cpuset:/\n3:memory:/slurm/uid_0/job_5\n") == Origin("slurm", "5")
    assert origin_of("4:cpuset:/\n3:pids:/user.slice/user-7.slice\n") == Origin("user", "7")


@pytest.mark.parametrize("text", ["", "nonsense", "0::"])
def test_nothing_that_tells(text: str) -> None:
    assert origin_of(text) == Origin("user")
