"""Real agents over the stand-in driver, and real servers for them to send to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fakes.nvml.build import NAME, CannotBuild, Machine, build_library

PROJECT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Program:
    """A `costmeter` process that listens on `port`; started again under the same port."""

    words: list[str]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Program:
        with (self.folder / f"{self.words[0]}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "costmeter", *self.words,
                    "--web.listen-address", f"127.0.0.1:{self.port}",
                ],
                cwd=self.folder,
                env={
                    **os.environ,
                    "PYTHONPATH": str(PROJECT / "exporter"),
                    **self.environment,
                },
                stdout=subprocess.DEVNULL,
                stderr=log,
            )  # fmt: skip
        return self

    def page(self, path: str = "/metrics", **headers: str) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            body: bytes = answer.read()
        return body.decode()

    def value(self, series: str) -> float | None:
        """The value of a series as it is written, labels and all; None when it is absent."""
        try:
            page = self.page()
        except OSError:
            return None
        for line in page.splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        return None

    def wait(self, series: str, least: float, seconds: float = 20) -> float:
        return self.until(lambda: self.value(series), lambda found: found >= least, series, seconds)

    def until(
        self,
        ask: Callable[[], float | None],
        good: Callable[[float], bool],
        what: str,
        seconds: float = 20,
    ) -> float:
        end = time.monotonic() + seconds
        found: float | None = None
        while time.monotonic() < end:
            found = ask()
            if found is not None and good(found):
                return found
            assert self.process is None or self.process.poll() is None, self.log()
            time.sleep(0.05)
        raise AssertionError(f"{what} stays at {found}\n{self.log()}")

    def log(self) -> str:
        return (self.folder / f"{self.words[0]}.log").read_text()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 20) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@dataclass
class Node:
    """A machine with the stand-in driver, on which agents run."""

    folder: Path
    library: Path
    machine: Machine
    programs: list[Program] = field(default_factory=list)

    def agent(self, config: str, *words: str) -> Program:
        file = self.folder / "agent.yml"
        file.write_text(config)
        environment = {
            "LD_LIBRARY_PATH": str(self.library),
            "FAKE_NVML_SCENARIO": str(self.machine.path),
        }
        return self._started(["agent", "--config.file", str(file), *words], environment)

    def server(self, config: str = "gpu: {enabled: false}\n") -> Program:
        file = self.folder / "server.yml"
        file.write_text(config)
        return self._started(["serve", "--config.file", str(file)], {})

    def _started(self, words: list[str], environment: dict[str, str]) -> Program:
        self.programs.append(Program(words, self.folder, environment))
        return self.programs[-1].start()


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    try:
        build_library(folder / "built").replace(folder / NAME)
    except CannotBuild as missing:
        pytest.skip(f"the stand-in for the NVIDIA driver cannot be built: {missing}")
    return folder


@pytest.fixture
def node(tmp_path: Path, driver: Path) -> Iterator[Node]:
    machine = Machine(tmp_path / "scenario")
    machine.write()
    made = Node(tmp_path, driver, machine)
    yield made
    for program in made.programs:
        if program.process is not None and program.process.poll() is None:
            program.kill()
