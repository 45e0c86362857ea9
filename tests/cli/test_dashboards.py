"""`costmeter dashboards`, and that an installed package carries everything it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from costmeter.cli import main
from costmeter.cli.dashboards import LABELS
from costmeter.cli.errors import CommandError
from costmeter.cli.manifests import MAX_DATA_BYTES, Metadata, config_map, metadata_of
from costmeter.cli.shipped import Shipped, dashboard_files

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]
META = Metadata("costmeter", "", {}, {})
#: YAML would take each of these for something else, or break the line at it.
ODD = '{"title": "a: b # c", "text": "tab\t\\n ü 🙂 \\u2028 {{ x }}",\n\n   "n": [1,\n 2] }\n'


def said(capsys: Capture, *arguments: str) -> str:
    capsys.readouterr()
    assert main(["dashboards", *arguments]) == 0
    return capsys.readouterr().out


def test_files_are_written_as_they_are(tmp_path: Path, capsys: Capture) -> None:
    said(capsys, "--output", str(tmp_path))
    shipped = sorted((ROOT / "dashboards" / "json").glob("*.json"))
    assert shipped
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in shipped]
    for path in shipped:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_each_is_a_config_map_that_fits(tmp_path: Path, capsys: Capture) -> None:
    objects = list(
        yaml.safe_load_all(
            said(capsys, "--format", "configmap", "--namespace", "graf", "--folder", "LLM: cost")
        )
    )
    for item, shipped in zip(objects, dashboard_files(), strict=True):
        assert item["metadata"]["labels"] == LABELS
        assert item["metadata"]["namespace"] == "graf"
        assert item["metadata"]["annotations"] == {"grafana_folder": "LLM: cost"}
        ((name, text),) = item["data"].items()
        assert name == shipped.file
        assert json.loads(text) == json.loads(shipped.text)
        assert len(name.encode()) + len(text.encode()) <= MAX_DATA_BYTES
    assert len({item["metadata"]["name"] for item in objects}) == len(objects)


def test_one_dashboard_goes_to_standard_output(capsys: Capture) -> None:
    first, *others = dashboard_files()
    assert said(capsys, first.name) == first.text
    if others:
        assert main(["dashboards"]) == 1
        assert f"name one of {first.name}, " in capsys.readouterr().err


def test_the_list(capsys: Capture) -> None:
    rows = json.loads(said(capsys, "--list", "--json"))
    assert [row["file"] for row in rows] == [item.file for item in dashboard_files()]
    assert all(row["title"] and row["uid"] and row["panels"] > 0 for row in rows)


def test_any_text_goes_through_a_config_map_unchanged() -> None:
    for text in (ODD, ODD.rstrip("\n"), "x", "x\n", "a\n\n  b\n\n c\n"):
        made = yaml.safe_load(config_map("odd", [Shipped("odd", "odd.json", text)], META))
        assert made["data"] == {"odd.json": text}


def test_a_dashboard_beyond_the_limit_is_refused() -> None:
    fits = Shipped("a", "a.json", "x" * (MAX_DATA_BYTES - 6))
    yaml.safe_load(config_map("a", [fits], META))
    with pytest.raises(CommandError, match="are more than the 1048576 that a ConfigMap holds"):
        config_map("a", [fits._replace(text=fits.text + "x")], META)


def test_a_default_label_can_be_replaced() -> None:
    meta = metadata_of("a", "", ["grafana_dashboard=yes", "x.org/y="], LABELS, {})
    assert meta.labels["grafana_dashboard"] == "yes"
    assert meta.labels["x.org/y"] == ""


@pytest.mark.slow
def test_an_installed_package_carries_everything(tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, env=environment, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    run = f"import sys; sys.path.insert(0, {str(site)!r}); from costmeter.cli import main; "
    for arguments in (
        ["rules", "--output", "out"],
        ["dashboards", "--output", "out"],
        ["init", "out/costmeter.yml", "--prometheus", "--alertmanager"],
    ):
        answer = subprocess.run(
            [sys.executable, "-c", f"{run}sys.exit(main({arguments!r}))"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
    written = {path.name: path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for pattern in ("alert_rules/*.rules.yml", "dashboards/json/*.json"):
        shipped = sorted(ROOT.glob(pattern))
        assert shipped, pattern
        for path in shipped:
            assert written[path.name].read_bytes() == path.read_bytes()
    assert {"prometheus.yml", "alertmanager.yml", "costmeter.tmpl"} <= set(written)
