"""docs/sdk.md: its code runs as it stands there, and it leaves nothing out."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from costmeter import Meter
from costmeter.sdk import Stats
from costmeter.sdk.settings import environment as settings_of
from docs.pages import ROOT
from fakes.exporter import Exporter, environment
from sdk.balance import booked

PAGE = (ROOT / "docs" / "sdk.md").read_text("utf-8")
_BLOCK = re.compile(r"^```(python run|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SDK = ROOT / "exporter" / "costmeter" / "sdk"


def test_the_page_runs(exporter: Exporter, tmp_path: Path) -> None:
    """All blocks in order, as one program; only the address is another one."""
    blocks = _BLOCK.findall(PAGE)
    code = "\n".join(text for kind, text in blocks if kind == "python run")
    expected = "".join(text for kind, text in blocks if kind == "text")
    code = code.replace("http://127.0.0.1:9952", f"http://{exporter.address}")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=environment(),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == expected
    assert booked(exporter) == 5


def table(first: str) -> str:
    """The rows of the table whose head begins so."""
    return PAGE.partition(f"\n| {first}")[2].partition("\n\n")[0]


@pytest.mark.parametrize("name", [field.name for field in fields(Stats)])
def test_every_count_is_explained(name: str) -> None:
    assert f"`{name}`" in table("count |")


def test_every_reason_is_explained() -> None:
    code = "".join(path.read_text("utf-8") for path in _SDK.glob("*.py"))
    dropped = set(re.findall(r'books\.(?:drop|refuse)\(\s*"(\w+)"', code))
    dropped |= set(re.findall(r'self\._lost\("(\w+)"', code))
    assert dropped == set(re.findall(r"^\| `(\w+)` \|", table("`dropped` | why"), re.MULTILINE))


def test_every_argument_is_explained_with_its_default() -> None:
    rows = table("argument |")
    for name, parameter in inspect.signature(Meter).parameters.items():
        if name == "defaults":
            continue
        assert f"`{name}`" in rows
        if type(parameter.default) in (int, float):
            (row,) = [row for row in rows.splitlines() if f"`{name}`" in row]
            default = parameter.default
            shown = f"{default >> 20} MiB" if name == "spool_bytes" else f"{default:,g}"
            assert shown in row.split("|")[3], row


def test_every_variable_is_explained() -> None:
    named = set(re.findall(r"COSTMETER_([A-Z_]+)", table("argument |")))
    given = {f"COSTMETER_{name}": "x" for name in named}
    assert {name.upper() for name in settings_of(given)} == named
    every = {f"COSTMETER_{name.upper()}": "x" for name in inspect.signature(Meter).parameters}
    assert set(settings_of({**every, **given, **os.environ})) == set(settings_of(given))
