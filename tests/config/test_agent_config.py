"""The agent's configuration: its own file, the rules of every configuration."""

from __future__ import annotations

import ast
import importlib
from dataclasses import fields
from pathlib import Path

import pytest

import costmeter.config
from costmeter.config import AgentConfig, Config, ConfigError, load_agent_config
from costmeter.config.agent import INSTEAD
from costmeter.config.json_schema import agent_schema
from costmeter.config.reference import render_agent


def loaded(folder: Path, text: str, **environ: str) -> AgentConfig:
    path = folder / "agent.yml"
    path.write_text(text)
    return load_agent_config(path, environ)


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    return [line.replace(f"{folder}/", "") for line in str(caught.value).splitlines()]


def test_without_a_file_it_has_defaults_and_sends_nothing() -> None:
    config = load_agent_config(None, {})
    assert config == AgentConfig()
    assert config.forward.url == ""
    assert (config.web.host, config.web.port) == ("127.0.0.1", 9953)


def test_flag_beats_variable_beats_file(tmp_path: Path) -> None:
    text = "gpu: {region: a, kubernetes: {node_name: n, labels: {team: [squad]}}}\n"
    config = loaded(tmp_path, text, COSTMETER_GPU_REGION="b", COSTMETER_WEB_LISTEN_ADDRESS=":1")
    assert config.gpu.region == "b"
    assert config.gpu.kubernetes.labels.by_field()["team"] == ("squad",)
    assert config.gpu.node({"NODE_NAME": "m"}) == "n"
    assert config.web.port == 1
    flags = {"web.listen_address": ":2"}
    assert load_agent_config(None, {"COSTMETER_WEB_LISTEN_ADDRESS": ":1"}, flags).web.port == 2


def test_mistakes_are_named_with_what_to_write_instead(tmp_path: Path) -> None:
    assert refused(
        tmp_path,
        "forward: {url: 'http://s', ca_file: none, cert_file: none}\n"
        "gpu:\n  segment_seconds: 1\n  sample_seconds: 2\n"
        "  energy: {pue: 0.9}\n  kubernetes: {api_server: 'http://k'}\n"
        "  workloads: [acme]\nforwrad: {}\n",
    ) == [
        "agent.yml:1: forward.cert_file: needs its key; write forward.key_file",
        "agent.yml:1: forward.ca_file: is of no use without TLS; write forward.url with https://",
        "agent.yml:3: gpu.segment_seconds: 1 is shorter than gpu.sample_seconds (2); write more",
        (
            "agent.yml:5: gpu.energy.pue: '0.9' is under 1, as if the building gave energy "
            "away; write 1 or more"
        ),
        "agent.yml:6: gpu.kubernetes.api_server: would send the token in the clear; write https://",
        (
            "agent.yml:7: gpu.workloads[0]: 'acme' is not a name with its tenant; "
            "write one like team-a=acme"
        ),
        "agent.yml:8: forwrad: is no setting. Did you mean 'forward'?",
    ]


def test_a_token_in_the_clear_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x")
    (tmp_path / "token").chmod(0o644)
    config = loaded(tmp_path, "forward: {url: 'http://server:9952', token_file: token}")
    assert [warning.key for warning in config.warnings] == ["forward.url", "forward.token_file"]


def test_a_section_of_the_server_is_told_apart_from_a_typing_error(tmp_path: Path) -> None:
    (problem,) = refused(tmp_path, "ledger: {path: x}")
    assert "is a section of `costmeter serve`" in problem
    servers = {item.name for item in fields(Config)} - {item.name for item in fields(AgentConfig)}
    assert set(INSTEAD) == servers


def test_reference_and_schema_know_every_section() -> None:
    for item in fields(AgentConfig):
        if item.name != "warnings":
            assert f"\n## {item.name}\n" in render_agent()
            assert item.name in agent_schema()["properties"]


def test_every_name_of_the_package_is_where_it_is_said_to_be() -> None:
    source = Path(costmeter.config.__file__).read_text()
    (typed,) = (
        node for node in ast.parse(source).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    )  # fmt: skip
    imported = {
        alias.name: node.module
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(imported) == sorted(costmeter.config.__all__)
    for name, module in imported.items():
        assert getattr(costmeter.config, name) is getattr(importlib.import_module(module), name)
