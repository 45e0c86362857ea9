"""A Grafana for the demonstration: the shipped provisioning, with this run's places in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from costmeter.demo.grafana import Provisioning, prepare
from fakes.exporter import ROOT

SHIPPED = ROOT / "deploy" / "grafana" / "provisioning"
SOURCE = (SHIPPED / "datasources" / "prometheus.yml").read_text("utf-8")
PROVIDER = (SHIPPED / "dashboards" / "costmeter.yml").read_text("utf-8")


@pytest.mark.parametrize(
    ("program", "command"),
    [
        ("/usr/sbin/grafana-server", ["/usr/sbin/grafana-server"]),
        ("/usr/bin/grafana", ["/usr/bin/grafana", "server"]),
    ],
)
def test_everything_is_in_its_folder(tmp_path: Path, program: str, command: list[str]) -> None:
    started, environment = prepare(
        program, tmp_path, Provisioning(SOURCE, PROVIDER, [("a.json", '{"title": "A"}')]),
        address="127.0.0.1:3999", prometheus="http://127.0.0.1:9999",
    )  # fmt: skip
    assert started == [*command, "--homepath", "/usr/share/grafana"]
    assert environment["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert environment["GF_SERVER_HTTP_PORT"] == "3999"
    for name, value in environment.items():
        if name.startswith("GF_PATHS_"):
            assert Path(value).is_relative_to(tmp_path), name

    provisioning = Path(environment["GF_PATHS_PROVISIONING"])
    source = provisioning / "datasources" / "prometheus.yml"
    assert source.read_text("utf-8") == SOURCE
    assert "url: $PROMETHEUS_URL\n" in SOURCE
    assert environment["PROMETHEUS_URL"] == "http://127.0.0.1:9999"
    written = json.loads((provisioning / "dashboards" / "costmeter.yml").read_text("utf-8"))
    (provider,) = written["providers"]
    assert (Path(provider["options"]["path"]) / "a.json").read_text("utf-8") == '{"title": "A"}'
    shipped = yaml.safe_load(PROVIDER)
    shipped["providers"][0]["options"]["path"] = provider["options"]["path"]
    assert written == shipped


def test_a_download_is_at_home_beside_its_program(tmp_path: Path) -> None:
    home = tmp_path / "grafana-12"
    (home / "conf").mkdir(parents=True)
    program = home / "bin" / "grafana"
    program.parent.mkdir()
    program.touch()
    started, _ = prepare(
        str(program), tmp_path / "run", Provisioning(SOURCE, PROVIDER, []),
        address="127.0.0.1:3999", prometheus="http://127.0.0.1:9999",
    )  # fmt: skip
    assert started[-2:] == ["--homepath", str(home)]
