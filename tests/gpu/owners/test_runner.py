"""Which way of finding owners is taken, and the plainest of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from costmeter.gpu.claims import Claim
from costmeter.gpu.owners.configured import ConfiguredClaims
from costmeter.gpu.owners.kubernetes import KubernetesClaims
from costmeter.gpu.owners.processes import ProcessClaims
from costmeter.gpu.owners.runner import claims_of, mode_of
from costmeter.gpu.owners.settings import OwnerSettings
from costmeter.segment import Owner
from gpu.owners.tree import reading


@pytest.mark.parametrize("tenant", ["unattributed", "acme"])
@pytest.mark.parametrize("kubelet", [True, False])
def test_auto(tmp_path: Path, tenant: str, kubelet: bool) -> None:
    folder = tmp_path / "pod-resources"
    if kubelet:
        folder.mkdir()
    found = mode_of(OwnerSettings(default=Owner(tenant), kubelet_socket=folder / "kubelet.sock"))
    plain = "configured" if tenant == "acme" else "processes"
    assert found == ("kubernetes" if kubelet else plain)


def test_what_is_chosen_is_taken(tmp_path: Path) -> None:
    kinds = {
        "kubernetes": KubernetesClaims, "processes": ProcessClaims, "configured": ConfiguredClaims,
    }  # fmt: skip
    for mode, kind in kinds.items():
        settings = OwnerSettings(mode=mode, kubelet_socket=tmp_path / "none")  # type: ignore[arg-type]
        made = claims_of(settings)
        assert type(made) is kind
        assert made.health().mode == mode
        assert made.node() is None
        made.stop()


def test_the_whole_machine_is_one_owners() -> None:
    claims = claims_of(OwnerSettings(mode="configured", default=Owner("acme", team="search")))
    claims.start()
    assert claims.of(reading(0)) == (Claim(Owner("acme", team="search")),)
    assert claims.of(reading(1, migs=3)) == (Claim(Owner("acme", team="search")),)
    claims.stop()


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, costmeter.gpu.owners.kubernetes, costmeter.gpu.owners.processes\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}"
        " - set(sys.stdlib_module_names)))"
    )
    source = str(Path(__file__).parents[3] / "exporter")
    command = [sys.executable, "-S", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": source})
    assert ran.stdout.split() == ["__main__", "costmeter"], ran.stderr
