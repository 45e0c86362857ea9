"""The real exporter as a process of its own, on a free loopback port, in a folder of a test."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_SAMPLE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)",?')
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}

#: One sample: its name and its labels as a sorted tuple.
Key = tuple[str, tuple[tuple[str, str], ...]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment() -> dict[str, str]:
    """This process' environment without settings of its own, with the package's sources."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("COSTMETER_")}
    return {**kept, "PYTHONPATH": str(ROOT / "exporter"), "PYTHONUNBUFFERED": "1"}


def run(*arguments: object, cwd: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """A command of costmeter, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "costmeter", *map(str, arguments)],
        cwd=cwd, env=environment(), capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip


def wait_until(test: Callable[[], object], seconds: float, what: str, every: float = 0.05) -> Any:
    """The first true answer of `test`; AssertionError with `what` when none comes in time."""
    ends = time.monotonic() + seconds
    while True:
        found = test()
        if found:
            return found
        if time.monotonic() > ends:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(every)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Page:
    """A parsed /metrics page; values keep their text, so that they can be compared exactly."""

    def __init__(self, text: str) -> None:
        self.samples: dict[Key, str] = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                found = _SAMPLE.match(line)
                assert found is not None, f"not a sample: {line}"
                name, labels, value = found.groups()
                key = (name, tuple(sorted(_labels(labels or ""))))
                assert key not in self.samples, f"twice on the page: {line}"
                self.samples[key] = value

    def family(self, name: str) -> dict[tuple[tuple[str, str], ...], float]:
        return {labels: float(v) for (found, labels), v in self.samples.items() if found == name}

    def sum(self, name: str, **labels: str) -> float | None:
        """Over the samples with these labels; None when there is none."""
        found = [
            value for own, value in self.family(name).items() if labels.items() <= dict(own).items()
        ]
        return sum(found) if found else None

    def starting_with(self, prefix: str) -> dict[Key, float]:
        return {key: float(v) for key, v in self.samples.items() if key[0].startswith(prefix)}


def _labels(text: str) -> list[tuple[str, str]]:
    return [
        (name, re.sub(r"\\.", lambda m: _ESCAPES[m[0]], value))
        for name, value in _LABEL.findall(text)
    ]


def call(number: object, *, at: float | None = None, **changes: Any) -> dict[str, Any]:
    """An event as a sender writes it, now unless `at` (Unix seconds) says otherwise."""
    instant = time.time() if at is None else at
    return {
        "request_id": f"r-{number}",
        "timestamp": stamp(instant),
        "provider": "openai",
        "model": "gpt-4o-mini",
        "tokens": {"input": 1200, "output": 150},
    } | changes


def stamp(at: float) -> str:
    """Unix seconds as RFC 3339 in UTC, with milliseconds."""
    whole = int(at)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int(at * 1000) % 1000:03d}Z"


@dataclass
class Exporter:
    """`start` it, `kill9` or `terminate` it, `start` it again: folder, port and ledger stay.

    `config` is YAML text for the configuration file. `prefix` is a program that starts the
    exporter, such as prlimit with its flags. A second exporter on the same ledger has the
    same folder and another `name`.
    """

    folder: Path
    config: str = ""
    flags: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    name: str = "exporter"
    ledger_path: str = "ledger.db"
    prefix: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure(self.config)

    @property
    def config_file(self) -> Path:
        return self.folder / f"{self.name}.yml"

    @property
    def ledger(self) -> Path:
        return self.folder / self.ledger_path

    @property
    def log_file(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def log(self) -> str:
        """Everything that was written to standard output and error, over all starts."""
        return self.log_file.read_text("utf-8") if self.log_file.exists() else ""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def configure(self, text: str) -> None:
        self.config = text
        self.config_file.write_text(text, "utf-8")

    def command(self, *arguments: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Another command of costmeter on the same configuration and ledger."""
        return run(
            *arguments, "--config.file", self.config_file, "--ledger.path", self.ledger_path,
            cwd=self.folder, timeout=timeout,
        )  # fmt: skip

    def launch(self) -> Exporter:
        """Start the process without waiting for it."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix, sys.executable, "-m", "costmeter", "serve",
                    "--config.file", str(self.config_file), "--ledger.path", self.ledger_path,
                    "--web.listen-address", self.address, *self.flags,
                ],
                cwd=self.folder, env=environment(), stdout=log, stderr=log,
            )  # fmt: skip
        return self

    def start(self, seconds: float = 20) -> Exporter:
        """Start the process and wait until it is ready."""
        self.launch()
        self.wait_ready(seconds)
        return self

    def wait_ready(self, seconds: float = 20) -> None:
        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"it ended with {self.process.poll()}:\n{self.log}"
            answer = self.try_ask("GET", "/-/ready", timeout=2)
            return answer is not None and answer.status == 200

        try:
            wait_until(ready, seconds, "ready", every=0.02)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 20,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def try_ask(
        self, method: str, path: str, body: bytes | str | None = None, timeout: float = 20
    ) -> Answer | None:
        """None when nobody answers, or not to the end."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask(method, path, body, timeout=timeout)
        return None

    def post(
        self, events: Sequence[Mapping[str, Any]], headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send usage events in one body."""
        named = {"content-type": "application/json", **(headers or {})}
        return self.ask("POST", "/api/v1/usage", json.dumps(list(events)), named)

    def send(self, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send events that must be taken; the answer."""
        answer = self.post(events)
        assert answer.status == 200, (answer.status, answer.text, self.log)
        return dict(answer.json())

    def metrics(self) -> Page:
        answer = self.ask("GET", "/metrics")
        assert answer.status == 200, answer.text
        return Page(answer.text)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill9(self) -> None:
        """The end that no program can prepare for."""
        self.signal(signal.SIGKILL)
        self.wait()

    def terminate(self, seconds: float = 30) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = 30) -> int:
        """Until the process has ended; its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def __enter__(self) -> Exporter:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
