"""The manifests as objects, and the programs that make and judge them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from fakes.exporter import ROOT

KUSTOMIZE = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "costmeter"
TOOLS = ROOT / ".tools"
#: The chart's renditions that are judged like the base.
VALUES: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "gke": ("agent.gkeDriver=true",),
    "shared": ("agent.hostPID=true",),
    "eks": ("agent.runtimeClassName=",),
    "agents": ("server.enabled=false", "agent.config.forward.url=https://cost.example.org"),
    "bare": ("networkPolicy.enabled=false", "serviceMonitor.enabled=false",
             "prometheusRule.enabled=false", "dashboards.enabled=false"),
}  # fmt: skip
OVERLAYS = sorted(path.name for path in (KUSTOMIZE / "overlays").iterdir())

Object = dict[str, Any]
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def helm(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = TOOLS / "helm"
    assert program.exists(), "helm is not there: scripts/kubernetes-tools fetches it"
    return subprocess.run(
        [str(program), *map(str, words)], capture_output=True, text=True, check=False
    )


def objects_of(text: str) -> list[Object]:
    return [found for found in yaml.load_all(text, _LOADER) if found]


@cache
def kustomized(place: str = "base") -> tuple[Object, ...]:
    """The objects of a folder below deploy/kubernetes."""
    kubectl = Path(sys.executable).with_name("kubectl")
    return tuple(objects_of(_run(kubectl, "kustomize", KUSTOMIZE / place)))


@cache
def charted(rendition: str = "defaults") -> tuple[Object, ...]:
    """The objects of the chart with the values of `VALUES`."""
    flags = [word for value in VALUES[rendition] for word in ("--set", value)]
    done = helm("template", "costmeter", CHART, "--namespace", "costmeter", *flags)
    assert done.returncode == 0, done.stderr
    return tuple(objects_of(done.stdout))


def every_rendition() -> dict[str, tuple[Object, ...]]:
    found = {"base": kustomized()}
    found |= {f"overlays/{name}": kustomized(f"overlays/{name}") for name in OVERLAYS}
    return found | {f"helm:{name}": charted(name) for name in VALUES}


def of_kind(objects: Sequence[Object], *kinds: str) -> Iterator[Object]:
    return (found for found in objects if found["kind"] in kinds)


def named(objects: Sequence[Object], kind: str, name: str) -> Object:
    (found,) = [found for found in of_kind(objects, kind) if found["metadata"]["name"] == name]
    return found


def operator_problems(objects: Sequence[Object]) -> list[str]:
    """What the Prometheus operator's own definitions say is wrong."""
    program = Path(__file__).with_name("operator_kinds.mjs")
    done = subprocess.run(
        ["node", str(program), str(TOOLS)],
        input=json.dumps(list(objects)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    problems: list[str] = json.loads(done.stdout)
    return problems
