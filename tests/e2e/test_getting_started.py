"""docs/getting-started.md, followed to the letter in a copy of the checkout.

Blocks marked `sh run` are run in order, in one shell; `sh run until` again until they say
what the text block under them says; `sh serve` is left running. Only ports and waiting
times are others than on the page.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from e2e.rules import shortened
from fakes.exporter import ROOT, environment, free_port, wait_until

PAGE = ROOT / "docs" / "getting-started.md"
_BLOCK = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
_MAKE_RUN = re.compile(r'make run(?: ARGS="([^"]*)")?')
UNTIL_SECONDS = 60


@dataclass(frozen=True)
class Step:
    kind: str
    command: str
    expected: str = ""


def steps() -> list[Step]:
    """What the page tells the reader to type, and what it says will be seen."""
    found: list[Step] = []
    for language, mark, text in _BLOCK.findall(PAGE.read_text("utf-8")):
        if language == "text":
            last = found.pop()
            assert not last.expected, "two outputs for one command"
            found.append(Step(last.kind, last.command, text))
        else:
            assert (language, mark) in {("sh", "run"), ("sh", "run until"), ("sh", "serve")}, mark
            found.append(Step(mark, text))
    return found


@dataclass
class Reader:
    """Somebody with a terminal for each program that is left running."""

    folder: Path
    ports: dict[str, str]
    env: dict[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def elsewhere(self, text: str) -> str:
        """The same text with the ports of this run."""
        for port, other in self.ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{other}")
        return text

    def serve(self, command: str) -> None:
        """Start a program; one of the same name is stopped first, as by Ctrl-C."""
        made = _MAKE_RUN.fullmatch(command.strip())
        if made:
            command = f"costmeter serve {made[1] or ''}"
        name = command.split()[0]
        if name in self.running:
            self.stop(name)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                ["bash", "-c", f"exec {self.elsewhere(command)}"],
                cwd=self.folder, env=self.env, stdout=log, stderr=log,
            )  # fmt: skip
        port = {"costmeter": "9952", "prometheus": "9090", "prometheus-alertmanager": "9093"}[name]
        wait_until(lambda: self._ready(name, self.ports[port]), 30, f"{name} ready")

    def stop(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, self.log(name)

    def run(self, command: str) -> str:
        """Run it in the reader's shell; what it printed. The shell keeps what it exports."""
        kept = self.folder.parent / "environment"
        script = f"{self.elsewhere(command)}\nstatus=$?\nenv -0 > {kept}\nexit $status\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.env,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        self.env = dict(item.split("=", 1) for item in kept.read_text().split("\0") if "=" in item)
        return done.stdout

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text("utf-8")

    def _ready(self, name: str, port: str) -> bool:
        assert self.running[name].poll() is None, self.log(name)
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2) as answer,
        ):
            return bool(answer.status == 200)
        return False


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    shortened(folder / "alert_rules", {"BudgetExceeded": "2s"})
    commands = folder / ".venv" / "bin"
    commands.mkdir(parents=True)
    (commands / "costmeter").write_text(f'#!/bin/sh\nexec {sys.executable} -m costmeter "$@"\n')
    (commands / "costmeter").chmod(0o755)
    ports = {port: str(free_port()) for port in ("9952", "9090", "9093")}
    env = {
        **environment(),
        "COSTMETER_WEB_LISTEN_ADDRESS": f"127.0.0.1:{ports['9952']}",
        "COSTMETER_JOBS_BUDGETS_SECONDS": "1",
        # `make run` needs no PATH; what stands for it here does.
        "PATH": f"{commands}:{os.environ['PATH']}",
    }
    reader = Reader(folder, ports, env)
    for path in (folder / "deploy").rglob("*.yml"):
        text = re.sub(r"(_interval|group_wait): \d+s", r"\1: 1s", path.read_text("utf-8"))
        text = text.replace("scrape_timeout: 10s", "scrape_timeout: 1s")
        path.write_text(reader.elsewhere(text), "utf-8")
    try:
        yield reader
    finally:
        for process in reader.running.values():
            process.kill()
            process.wait()


def says(output: str, expected: str) -> bool:
    """Whether the output is what the page shows, where … stands for anything."""
    pattern = "".join(
        ".*" if part == "…" else re.escape(part) for part in re.split("(…)", expected.strip())
    )
    lines = "\n".join(line.rstrip() for line in output.strip().splitlines())
    return re.fullmatch(pattern, lines, re.DOTALL) is not None


@pytest.mark.slow
def test_whoever_follows_the_page_sees_what_it_says(reader: Reader) -> None:
    for step in steps():
        if step.kind == "serve":
            reader.serve(step.command)
            continue
        output = reader.run(step.command)
        ends = time.monotonic() + UNTIL_SECONDS
        while step.kind == "run until" and not says(output, step.expected):
            assert time.monotonic() < ends, f"{step.command}\nsays\n{output}"
            time.sleep(0.3)
            output = reader.run(step.command)
        if step.expected:
            assert says(output, step.expected), f"{step.command}\nsays\n{output}"
    for name in list(reader.running):
        reader.stop(name)


def test_the_page_has_a_step_of_every_kind() -> None:
    """A page whose marks were lost would pass the test above without saying anything."""
    found = steps()
    assert sum(step.kind == "serve" for step in found) == 4
    assert sum(bool(step.expected) for step in found) == 9
    assert all(step.expected for step in found if step.kind == "run until")
    for command in ("replay", "cost", "verify", "check-config"):
        assert any(f"costmeter {command} " in f"{s.command.strip()} " for s in found), command


def test_make_run_is_costmeter_serve_with_its_arguments() -> None:
    commands = [step.command.strip() for step in steps() if step.command.startswith("make run")]
    assert len(commands) == 2
    for command in commands:
        said = subprocess.run(
            [*shlex.split(command), "--dry-run", "--no-print-directory"],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert said.returncode == 0, said.stderr
        made = _MAKE_RUN.fullmatch(command)
        assert made is not None, command
        last = said.stdout.strip().splitlines()[-1]
        assert last.rstrip().endswith(f"-m costmeter serve {made[1] or ''}".rstrip()), last


def test_links_lead_somewhere() -> None:
    for target in _LINK.findall(PAGE.read_text("utf-8")):
        if not target.startswith("http"):
            assert (PAGE.parent / target).exists(), target
