"""The systemd units, judged by systemd itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from costmeter.cli.parser import build_parser
from fakes.exporter import ROOT

UNITS = ROOT / "deploy" / "systemd"
NAMES = ("costmeter.service", "costmeter-agent.service")
#: systemd's own measure: 0 is a service that may do nothing, 10 one that may do anything.
MOST_EXPOSED = 2.0


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program is not None, "systemd-analyze is not installed: apt-get install systemd"
    return subprocess.run(
        [program, *map(str, words)], capture_output=True, text=True, check=False,
        env={"SYSTEMD_LOG_LEVEL": "warning", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def test_these_are_the_units() -> None:
    assert sorted(path.name for path in UNITS.glob("*.service")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_systemd_has_nothing_to_say(name: str, tmp_path: Path) -> None:
    # The program is not installed here; everything else of the unit is judged.
    text = (UNITS / name).read_text("utf-8").replace("/opt/costmeter/bin/costmeter", "/bin/true")
    unit = tmp_path / name
    unit.write_text(text, "utf-8")
    done = analyze("verify", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    unit.write_text(text.replace("NoNewPrivileges=yes", "NoNewPrivilege=yes"), "utf-8")
    assert "NoNewPrivilege" in analyze("verify", unit).stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_service_may_do_little(name: str) -> None:
    done = analyze("security", "--offline=true", "--no-pager", UNITS / name)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found is not None, done.stderr
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("name", NAMES)
def test_the_command_is_one_of_ours(name: str) -> None:
    text = (UNITS / name).read_text("utf-8")
    (command,) = re.findall(r"^ExecStart=(\S+) (.+)$", text, re.MULTILINE)
    assert command[0] == "/opt/costmeter/bin/costmeter"
    build_parser().parse_args(command[1].split())
