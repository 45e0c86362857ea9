"""`costmeter config-schema`: what it prints checks what `costmeter init` writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from costmeter.cli import main
from costmeter.config.json_schema import FILE, ROOT


def test_the_command_prints_the_committed_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config-schema"]) == 0
    assert capsys.readouterr().out == (ROOT / FILE).read_text("utf-8")


def test_init_writes_the_schema_that_its_first_line_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "costmeter.yml"
    assert main(["init", str(path), "--schema", "--budget", "10", "--tenant", "acme=1"]) == 0
    first, text = path.read_text("utf-8").split("\n", 1)
    mark, _, name = first.partition("$schema=")
    assert mark == "# yaml-language-server: "
    validator = Draft202012Validator(json.loads((tmp_path / name).read_text("utf-8")))
    assert validator.is_valid(yaml.safe_load(text))
    assert not validator.is_valid(yaml.safe_load(text.replace("monthly_usd", "monthly_eur")))
