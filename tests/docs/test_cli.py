"""The page of all commands is what the parser says."""

from __future__ import annotations

from pathlib import Path

import pytest

from costmeter.cli import reference
from costmeter.cli.parser import build_parser
from docs.pages import ROOT


def test_the_page_is_up_to_date() -> None:
    assert reference.main(["--check"]) == 0


def test_a_stale_page_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--check"], tmp_path) == 1
    assert "docs/cli.md is stale" in capsys.readouterr().err
    assert reference.main([], tmp_path) == 0
    assert reference.main(["--check"], tmp_path) == 0


def test_every_command_and_flag_is_on_the_page() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    commands = list(reference._commands(build_parser(), ""))
    assert {"estimate call", "explain", "prices update", "erase-user", "serve"} <= {
        one.name for one in commands
    }
    for command in commands:
        section = page.partition(f"\n## costmeter {command.name}\n")[2].partition("\n## ")[0]
        assert section, command.name
        for action in reference._arguments(command.parser):
            for flag in action.option_strings[-1:]:
                assert f"`{flag}" in section, (command.name, flag)


def test_every_remark_belongs_to_a_command() -> None:
    names = {one.name for one in reference._commands(build_parser(), "")}
    assert reference._REMARKS.keys() <= names
