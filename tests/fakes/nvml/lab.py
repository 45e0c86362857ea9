"""A machine with GPUs for tests: its driver, and processes that sample it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from fakes.nvml.build import NAME, Machine

PROJECT = Path(__file__).parents[3]
CHILD = Path(__file__).with_name("sampler_child.py")


class Child:
    """The process of sampler_child.py; each method asks it one thing."""

    def __init__(self, library_folder: Path, scenario: Path, patience_seconds: float) -> None:
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": str(library_folder),
            "FAKE_NVML_SCENARIO": str(scenario),
            "PYTHONPATH": os.pathsep.join(
                [
                    str(PROJECT / "exporter"),
                    str(PROJECT / "tests"),
                    os.environ.get("PYTHONPATH", ""),
                ]
            ),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(CHILD), str(patience_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, command: str, argument: float | None = None) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, argument]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the child ended; its traceback is on stderr"
        return json.loads(answer)

    def tick(self, seconds: float = 1) -> Any:
        return self.ask("tick", seconds)

    def log(self) -> list[str]:
        lines: list[str] = self.ask("log")
        return lines

    def end(self) -> int:
        """Close its input and wait: the process must end whatever hangs in it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process.stdout.close()


class Lab:
    """A machine whose driver can be broken, repaired, installed and removed."""

    def __init__(self, folder: Path, libraries: dict[str, Path]) -> None:
        self._libraries = libraries
        self.folder = folder / "lib"
        self.folder.mkdir()
        self.machine = Machine(folder / "scenario")
        self.machine.write()
        self.children: list[Child] = []

    def install(self, which: str = "new") -> None:
        draft = self.folder / "draft"
        shutil.copy(self._libraries[which], draft)
        draft.replace(self.folder / NAME)

    def child(self, patience_seconds: float = 20) -> Child:
        """`patience_seconds` is how long a pass of its sampler waits for slow calls."""
        self.children.append(Child(self.folder, self.machine.path, patience_seconds))
        return self.children[-1]

    def change(self, index: int, **figures: object) -> None:
        """Set keys of one GPU; None takes the line away."""
        self._merge(self.machine.gpus[index], figures)

    def driver(self, **figures: object) -> None:
        self._merge(self.machine.driver, figures)

    def _merge(self, target: dict[str, object], figures: dict[str, object]) -> None:
        for key, value in figures.items():
            name = key.replace("init_hang", "init.hang")
            if value is None:
                target.pop(name, None)
            else:
                target[name] = value
        self.machine.write()
