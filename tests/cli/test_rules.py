"""`costmeter rules`: what it writes is what was shipped, in a shape that others take."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from costmeter.cli import main
from costmeter.cli.rules import linked
from costmeter.cli.shipped import rule_files
from rules.tools import program
from rules.tools import rule_files as files_of_checkout

Capture = pytest.CaptureFixture[str]

#: What the API server asks of a PrometheusRule, after the Prometheus Operator's definition
#: of the resource (version 0.82). Unknown keys are refused here, as `kubectl` does.
_DURATION = r"^(0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)$"
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_RULE = {
    "type": "object",
    "required": ["expr"],
    "additionalProperties": False,
    "properties": {
        "alert": {"type": "string"},
        "record": {"type": "string"},
        "expr": {"type": ["integer", "string"]},
        "for": {"type": "string", "pattern": _DURATION},
        "keep_firing_for": {"type": "string", "pattern": _DURATION, "minLength": 1},
        "labels": _TEXTS,
        "annotations": _TEXTS,
    },
}
_GROUP = {
    "type": "object",
    "required": ["name", "rules"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "interval": {"type": "string", "pattern": _DURATION},
        "query_offset": {"type": "string", "pattern": _DURATION},
        "limit": {"type": "integer"},
        "labels": _TEXTS,
        "rules": {"type": "array", "items": _RULE},
    },
}
PROMETHEUS_RULE = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "PrometheusRule"},
        "metadata": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"pattern": "^[a-z0-9][-a-z0-9]*[a-z0-9]$"}, "labels": _TEXTS},
        },
        "spec": {
            "type": "object",
            "required": ["groups"],
            "additionalProperties": False,
            "properties": {"groups": {"type": "array", "items": _GROUP}},
        },
    },
}


def groups_of(text: str) -> Any:
    return yaml.safe_load(text)["groups"]


def shipped_groups() -> list[Any]:
    return [group for item in rule_files() for group in groups_of(item.text)]


def said(capsys: Capture, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["rules", *arguments]) == 0
    return capsys.readouterr().out


def promtool(text: str) -> None:
    answer = subprocess.run(
        [program("promtool"), "check", "rules", "/dev/stdin"],
        input=text, capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_files_of_the_checkout_are_found() -> None:
    assert [item.file for item in rule_files()] == [path.name for path in files_of_checkout()]


def test_files_are_written_as_they_are(tmp_path: Path, capsys: Capture) -> None:
    out = said(capsys, "--output", str(tmp_path / "new" / "rules"))
    for path in files_of_checkout():
        written = tmp_path / "new" / "rules" / path.name
        assert written.read_bytes() == path.read_bytes()
        assert f"wrote {written}\n" in out


def test_on_standard_output_they_are_one_file_that_promtool_takes(capsys: Capture) -> None:
    out = said(capsys)
    assert groups_of(out) == shipped_groups()
    promtool(out)


def test_prometheus_rules_hold_the_same_groups(capsys: Capture) -> None:
    objects = list(yaml.safe_load_all(said(capsys, "--format", "prometheusrule")))
    assert [group for item in objects for group in item["spec"]["groups"]] == shipped_groups()
    for item in objects:
        jsonschema.validate(item, PROMETHEUS_RULE)
        names = [group["name"] for group in item["spec"]["groups"]]
        assert len(set(names)) == len(names)
        promtool(yaml.safe_dump(item["spec"]))
    assert len({item["metadata"]["name"] for item in objects}) == len(rule_files())


def test_the_shape_of_a_prometheus_rule_is_strict() -> None:
    rule = {"alert": "A", "expr": "1", "for": "5 minutes"}
    wrong = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "ab"},
        "spec": {"groups": [{"name": "g", "rules": [rule]}]},
    }
    with pytest.raises(jsonschema.ValidationError, match="5 minutes"):
        jsonschema.validate(wrong, PROMETHEUS_RULE)


def test_comments_of_the_rules_survive(capsys: Capture) -> None:
    out = said(capsys, "--format", "prometheusrule", "budgets")
    assert "      # The projection is the exporter's" in out


def test_a_config_map_holds_the_files(capsys: Capture) -> None:
    (item,) = yaml.safe_load_all(said(capsys, "--format", "configmap"))
    assert (item["apiVersion"], item["kind"]) == ("v1", "ConfigMap")
    assert item["data"] == {path.name: path.read_text() for path in files_of_checkout()}


def test_objects_carry_what_the_flags_say(tmp_path: Path, capsys: Capture) -> None:
    said(
        capsys,
        *("--format", "prometheusrule", "--output", str(tmp_path), "--namespace", "monitoring"),
        *("--label", "release=kube-prometheus-stack", "--label", "team=true", "--name", "llm"),
        *("gpu", "budgets"),
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["llm-budgets.yaml", "llm-gpu.yaml"]
    assert yaml.safe_load((tmp_path / "llm-gpu.yaml").read_text())["metadata"] == {
        "name": "llm-gpu",
        "namespace": "monitoring",
        "labels": {
            "app.kubernetes.io/name": "costmeter",
            "app.kubernetes.io/component": "rules",
            "release": "kube-prometheus-stack",
            "team": "true",
        },
    }


def without_links(rules: Sequence[Mapping[str, Any]]) -> list[Any]:
    links = ("runbook_url", "dashboard_url")
    return [
        {
            **rule,
            "annotations": {
                key: text for key, text in rule.get("annotations", {}).items() if key not in links
            },
        }
        for rule in rules
    ]


def test_links_change_annotations_and_nothing_else() -> None:
    page = 'https://g.example.org/d/x?var-tenant={{ $labels.tenant_id }}&q="a: b"'
    for item in rule_files():
        text = linked(item.text, "https://wiki.example.org/run/", page)
        promtool(text)
        before = [rule for group in groups_of(item.text) for rule in group["rules"]]
        after = [rule for group in groups_of(text) for rule in group["rules"]]
        assert without_links(after) == without_links(before)
        for old, new in zip(before, after, strict=True):
            if "alert" in old:
                name = old["annotations"]["runbook_url"].rpartition("/")[2]
                assert new["annotations"]["runbook_url"] == f"https://wiki.example.org/run/{name}"
                assert new["annotations"]["dashboard_url"] == page


def test_without_links_nothing_changes() -> None:
    assert all(linked(item.text, "", "") == item.text for item in rule_files())


def test_nothing_else_is_replaced_unless_forced(tmp_path: Path, capsys: Capture) -> None:
    said(capsys, "--output", str(tmp_path))
    (tmp_path / "gpu.rules.yml").write_text("mine")
    (tmp_path / "spend.rules.yml").unlink()
    assert main(["rules", "--output", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path}/gpu.rules.yml would change; nothing was written" in error
    assert "budgets" not in error
    assert (tmp_path / "gpu.rules.yml").read_text() == "mine"
    assert not (tmp_path / "spend.rules.yml").exists()

    out = said(capsys, "--output", str(tmp_path), "--force")
    assert f"wrote {tmp_path}/gpu.rules.yml" in out
    assert f"wrote {tmp_path}/spend.rules.yml" in out
    assert f"unchanged {tmp_path}/budgets.rules.yml" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == [p.name for p in files_of_checkout()]


def test_others_may_read_what_was_written(tmp_path: Path, capsys: Capture) -> None:
    said(capsys, "--output", str(tmp_path), "gpu")
    mode = stat.S_IMODE((tmp_path / "gpu.rules.yml").stat().st_mode)
    assert mode & 0o444 == 0o444 & ~_umask()


def _umask() -> int:
    return int(Path("/proc/self/status").read_text().split("Umask:")[1].split()[0], 8)


def test_the_list_counts(capsys: Capture) -> None:
    rows = json.loads(said(capsys, "--list", "--json"))
    assert [row["file"] for row in rows] == [path.name for path in files_of_checkout()]
    alerts = [name for row in rows for name in row["alerts"].split(", ") if name]
    inside = [rule for group in shipped_groups() for rule in group["rules"]]
    assert sorted(alerts) == sorted(rule["alert"] for rule in inside if "alert" in rule)
    assert sum(row["recorded"] for row in rows) == sum("record" in rule for rule in inside)
    assert "BudgetExceeded" in said(capsys, "--list")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nonsense"], "there is no 'nonsense'; choose from anomalies, bills, "),
        (["--runbook-url", "wiki"], "--runbook-url 'wiki' is no address"),
        (["--dashboard-url", "https://a/\nb"], "is no address"),
        (["--dashboard-url", "http://[a"], "is no address"),
        (["--format", "configmap", "--name", "Upper"], "--name 'Upper' is no name of an object"),
        (["--format", "configmap", "--name", "a" * 250], "is longer than 253"),
        (["--format", "configmap", "--namespace", "a.b"], "is no namespace"),
        (["--format", "configmap", "--label", "release"], "write KEY=VALUE"),
        (["--format", "configmap", "--label", "a=b c"], "is no label"),
        (["--format", "configmap", "--label=-/x=b"], "is no label"),
        (["--output", "/dev/null/x"], "cannot be written: Not a directory"),
    ],
)
def test_mistakes_are_told(capsys: Capture, arguments: list[str], text: str) -> None:
    assert main(["rules", *arguments]) == 1
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.out == ""
