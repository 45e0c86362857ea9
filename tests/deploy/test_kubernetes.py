"""The Kubernetes manifests and the chart, as far as they can be judged without a cluster."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from costmeter.cli.parser import build_parser
from costmeter.config import load_config
from costmeter.config.agent import load_agent_config
from deploy import build
from fakes.clusters import (
    CHART,
    KUSTOMIZE,
    OVERLAYS,
    VALUES,
    Object,
    charted,
    every_rendition,
    helm,
    kustomized,
    named,
    objects_of,
    of_kind,
    operator_problems,
)
from fakes.exporter import ROOT

#: The oldest and the newest Kubernetes that the manifests are checked against.
VERSIONS = ("1.28", kubernetes_validate.latest_version())
OPERATOR = "monitoring.coreos.com/"
RENDITIONS = ["base", *(f"overlays/{name}" for name in OVERLAYS), *(f"helm:{n}" for n in VALUES)]
#: Only what the agent really needs of its node.
NODE_FOLDERS = {"/var/lib/kubelet/pod-resources": True, "/var/lib/costmeter-agent": False}
GKE_FOLDERS = {"/home/kubernetes/bin/nvidia": True, "/dev": False}


def rendition(name: str) -> tuple[Object, ...]:
    return every_rendition()[name]


def pods(objects: Sequence[Object]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for found in of_kind(objects, "Deployment", "DaemonSet", "Job", "CronJob", "StatefulSet"):
        yield found["metadata"]["name"], found["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("base", VERSIONS[0]),
        ("helm:defaults", VERSIONS[0]),
        *((n, VERSIONS[1]) for n in RENDITIONS),
    ],
)
def test_the_kinds_of_kubernetes_are_as_its_schemas_say(name: str, version: str) -> None:
    judged = 0
    for found in rendition(name):
        if not found["apiVersion"].startswith(OPERATOR):
            kubernetes_validate.validate(found, version, strict=True)
            judged += 1
    assert judged >= 8


def test_the_schemas_notice_a_wrong_field() -> None:
    wrong = copy.deepcopy(named(kustomized(), "DaemonSet", "costmeter-agent"))
    wrong["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRoot"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="readOnlyRoot"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_the_kinds_of_the_operator_are_as_it_defines_them() -> None:
    everything = [found for made in every_rendition().values() for found in made]
    everything += kustomized("components/alertmanager-routes")
    theirs = [found for found in everything if found["apiVersion"].startswith(OPERATOR)]
    kinds = {found["kind"] for found in theirs}
    assert kinds == {"ServiceMonitor", "PrometheusRule", "AlertmanagerConfig"}
    # Routes within a route are free text to the API.
    inner = "AlertmanagerConfig costmeter/spec/route/routes/"
    assert [text for text in operator_problems(theirs) if not text.startswith(inner)] == []


def test_the_definitions_notice_wrong_fields() -> None:
    monitor = copy.deepcopy(named(kustomized(), "ServiceMonitor", "costmeter"))
    monitor["spec"]["endpoints"][0]["honourLabels"] = True
    monitor["spec"]["endpoints"][0]["interval"] = 30
    assert {problem.partition(": ")[0] for problem in operator_problems([monitor])} == {
        "ServiceMonitor costmeter/spec/endpoints/0/honourLabels",
        "ServiceMonitor costmeter/spec/endpoints/0/interval",
    }


@pytest.mark.parametrize("name", ["base", "helm:defaults"])
def test_rules_and_dashboards_are_the_shipped_ones(name: str, tmp_path: Path) -> None:
    objects = rendition(name)
    rules = {o["metadata"]["name"]: o["spec"] for o in of_kind(objects, "PrometheusRule")}
    files = sorted((ROOT / "alert_rules").glob("*.rules.yml"))
    wanted = {
        f"costmeter-{file.name.removesuffix('.rules.yml').replace('_', '-')}": file
        for file in files
    }
    assert {key: yaml.safe_load(file.read_text("utf-8")) for key, file in wanted.items()} == rules
    for key, spec in rules.items():
        (tmp_path / f"{key}.yml").write_text(yaml.safe_dump(spec), "utf-8")
    checked = subprocess.run(
        ["promtool", "check", "rules", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    shown = {
        file: json.loads(text)
        for found in of_kind(objects, "ConfigMap")
        if found["metadata"]["labels"].get("grafana_dashboard") == "1"
        for file, text in found["data"].items()
    }
    folder = ROOT / "dashboards" / "json"
    assert shown == {f.name: json.loads(f.read_text("utf-8")) for f in folder.glob("*.json")}


def test_the_generated_part_is_up_to_date(tmp_path: Path) -> None:
    assert build.main(["--check"]) == 0
    assert build.main([], tmp_path) == 0
    assert build.main(["--check"], tmp_path) == 0
    (tmp_path / "rules-costmeter-budgets.yaml").write_text("kind: Nothing\n")
    (tmp_path / "old.yaml").write_text("")
    assert build.main(["--check"], tmp_path) == 1
    assert build.main([], tmp_path) == 0
    assert not (tmp_path / "old.yaml").exists()
    assert build.main(["--check"], tmp_path) == 0


@pytest.mark.parametrize("name", RENDITIONS)
def test_nothing_has_more_rights_than_it_needs(name: str) -> None:
    on_gke = "gke" in name
    for workload, pod in pods(rendition(name)):
        agent = workload == "costmeter-agent"
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.get("hostNetwork")
        assert not pod.get("hostIPC")
        assert bool(pod.get("hostPID")) == (agent and "shared" in name)
        assert pod["automountServiceAccountToken"] is agent
        # The kubelet's socket opens to root alone; nothing else runs as root.
        assert pod["securityContext"]["runAsUser"] == (0 if agent else 65532)
        assert agent or pod["securityContext"]["runAsNonRoot"] is True
        assert "initContainers" not in pod
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert not re.search(r":(latest)?$|^[^:]+$", container["image"])
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]
            assert {"livenessProbe", "readinessProbe"} <= container.keys()
            if agent and on_gke:
                assert security["privileged"] is True
            else:
                assert security["allowPrivilegeEscalation"] is False
                assert security["capabilities"] == {"drop": ["ALL"]}
                assert not security.get("privileged")
        read_only = {
            mount["name"]: mount.get("readOnly", False)
            for container in pod["containers"]
            for mount in container["volumeMounts"]
        }
        folders = {
            volume["hostPath"]["path"]: read_only[volume["name"]]
            for volume in pod["volumes"]
            if "hostPath" in volume
        }
        allowed = {**NODE_FOLDERS, **(GKE_FOLDERS if on_gke else {})} if agent else {}
        assert folders == allowed


@pytest.mark.parametrize("name", RENDITIONS)
def test_the_cluster_is_only_read(name: str) -> None:
    roles = list(of_kind(rendition(name), "ClusterRole", "Role"))
    granted = {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {
        ("", "pods", "list"), ("", "pods", "watch"), ("", "nodes", "get"),
        ("resource.k8s.io", "resourceslices", "list"),
    }  # fmt: skip
    for found in of_kind(rendition(name), "ClusterRoleBinding", "RoleBinding"):
        assert [one["name"] for one in found["subjects"]] == ["costmeter-agent"]


@pytest.mark.parametrize("name", [name for name in RENDITIONS if name != "helm:bare"])
def test_every_workload_is_behind_a_network_policy(name: str) -> None:
    policies = list(of_kind(rendition(name), "NetworkPolicy"))
    for found in of_kind(rendition(name), "Deployment", "DaemonSet"):
        labels = found["spec"]["template"]["metadata"]["labels"]
        over = [
            policy
            for policy in policies
            if policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        ]
        assert len(over) == 1
        assert sorted(over[0]["spec"]["policyTypes"]) == ["Egress", "Ingress"]
        assert all(rule.get("from") for rule in over[0]["spec"]["ingress"])


@pytest.mark.parametrize("name", RENDITIONS)
def test_what_refers_to_something_finds_it(name: str) -> None:
    objects = rendition(name)
    labels = [
        found["spec"]["template"]["metadata"]["labels"]
        for found in of_kind(objects, "Deployment", "DaemonSet")
    ]

    def chosen(selector: Mapping[str, str]) -> int:
        return sum(selector.items() <= one.items() for one in labels)

    for found in of_kind(objects, "Service"):
        assert chosen(found["spec"]["selector"]) == 1
    for found in of_kind(objects, "PodDisruptionBudget", "Deployment", "DaemonSet"):
        assert chosen(found["spec"]["selector"]["matchLabels"]) == 1
    services = list(of_kind(objects, "Service"))
    for monitor in of_kind(objects, "ServiceMonitor"):
        (service,) = [
            one
            for one in services
            if monitor["spec"]["selector"]["matchLabels"].items()
            <= one["metadata"]["labels"].items()
        ]
        for endpoint in monitor["spec"]["endpoints"]:
            assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
            assert endpoint["honorLabels"] is True
    kinds = {"configMap": "ConfigMap", "persistentVolumeClaim": "PersistentVolumeClaim"}
    secrets = set()
    for _, pod in pods(objects):
        named(objects, "ServiceAccount", pod["serviceAccountName"])
        mounted = {mount["name"] for one in pod["containers"] for mount in one["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        for volume in pod["volumes"]:
            for key, kind in kinds.items():
                if key in volume:
                    source = volume[key]
                    named(objects, kind, source.get("name") or source["claimName"])
            if "secret" in volume:
                secrets.add(volume["secret"]["secretName"])
    assert secrets <= {"costmeter-tokens", "costmeter-agent-token"}


@pytest.mark.parametrize("name", RENDITIONS)
def test_what_the_containers_are_told_is_understood(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = build_parser()
    objects = rendition(name)
    for _, pod in pods(objects):
        for container in pod["containers"]:
            parser.parse_args(container["args"])
    for found in of_kind(objects, "ConfigMap"):
        for file, text in found["data"].items():
            if file == "costmeter.yml":
                (tmp_path / file).write_text(text)
                tokens = yaml.safe_load(text)["ingest"]["tokens_file"]
                assert tokens == "/etc/costmeter-tokens/tokens.yml"
                local = text.replace(tokens, str(tmp_path / "tokens.yml"))
                (tmp_path / file).write_text(local)
                (tmp_path / "tokens.yml").write_text("[]\n")
                assert load_config(tmp_path / file, {}).gpu.enabled == "false"
            elif file == "agent.yml":
                assert "/etc/costmeter-token/token" in text
                (tmp_path / "token").write_text("secret")
                local = text.replace("/etc/costmeter-token/token", str(tmp_path / "token"))
                (tmp_path / file).write_text(local)
                variables = {"COSTMETER_GPU_KUBERNETES_NODE_NAME": "node-1"}
                config = load_agent_config(tmp_path / file, variables)
                assert config.gpu.owners == "kubernetes"
                assert config.gpu.kubernetes.node_name == "node-1"
                assert config.forward.spool_folder == Path("/var/lib/costmeter-agent")


def plain(objects: Sequence[Object]) -> dict[tuple[str, str], Any]:
    """Objects without what a rendition adds of its own: the chart's labels, hashed names."""
    own = ("app.kubernetes.io/instance", "app.kubernetes.io/version", "helm.sh/chart",
           "app.kubernetes.io/managed-by")  # fmt: skip

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {
                key: bare(inner)
                for key, inner in value.items()
                if key not in own and key not in ("checksum/config", "helm.sh/resource-policy")
            }
            return {key: inner for key, inner in kept.items() if inner != {} or key == "emptyDir"}
        if isinstance(value, list):
            return [bare(inner) for inner in value]
        if isinstance(value, str):
            return re.sub(r"^(costmeter-(?:server|agent))-[a-z0-9]{10}$", r"\1", value)
        return value

    found = {}
    for one in objects:
        made = bare(one)
        if made["kind"] == "ConfigMap":
            made["data"] = {
                key: yaml.safe_load(text) if key.endswith(".yml") else json.loads(text)
                for key, text in made["data"].items()
            }
        if made["kind"].startswith("ClusterRole"):
            made["metadata"].pop("namespace", None)
        found[made["kind"], made["metadata"]["name"]] = made
    return found


def test_the_chart_and_the_base_are_the_same() -> None:
    base, chart = plain(kustomized()), plain(charted())
    # A release is put into a namespace that somebody made.
    del base["Namespace", "costmeter"]
    assert base.keys() == chart.keys()
    for key, found in base.items():
        assert found == chart[key], key


def test_the_chart_is_well_formed() -> None:
    done = helm("lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout
    assert (CHART / "files" / "alert_rules").resolve() == ROOT / "alert_rules"
    assert (CHART / "files" / "dashboards").resolve() == ROOT / "dashboards" / "json"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("agent.gkeDriver=maybe", "/agent/gkeDriver"),
        ("server.storage.sise=1Gi", "sise"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("serviceMonitor.interval=often", "/serviceMonitor/interval"),
    ],
)
def test_a_wrong_value_is_named(value: str, said: str) -> None:
    done = helm("template", "costmeter", CHART, "--set", value)
    assert done.returncode != 0
    assert said in done.stderr


def test_every_value_is_in_the_schema_and_every_default_fits() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))

    def missing(value: Any, known: Mapping[str, Any], path: str) -> Iterator[str]:
        if isinstance(value, dict) and known.get("additionalProperties") is False:
            for key, inner in value.items():
                if key not in known["properties"]:
                    yield f"{path}/{key}"
                else:
                    yield from missing(inner, known["properties"][key], f"{path}/{key}")
            for key in known["properties"].keys() - value.keys():
                yield f"{path}/{key} has no default"

    allowed = {"/global has no default"}
    assert set(missing(values, schema, "")) == allowed


def test_the_helm_release_waits_for_nothing_that_it_makes() -> None:
    texts = helm("template", "costmeter", CHART, "--show-only", "templates/server.yaml")
    kinds = [found["kind"] for found in objects_of(texts.stdout)]
    assert "Secret" not in kinds, "secrets are made by people, not by a chart"


def test_every_folder_is_built_here() -> None:
    parts = {path.parent.relative_to(KUSTOMIZE) for path in KUSTOMIZE.rglob("kustomization.yaml")}
    tops = {str(part) for part in parts if str(part).startswith(("overlays", "components"))}
    judged = {f"overlays/{name}" for name in OVERLAYS} | {"components/alertmanager-routes"}
    assert tops == judged
