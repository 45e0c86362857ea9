"""A real Prometheus with a one-second scrape, on a free port, in a folder of a test."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fakes.exporter import free_port, wait_until

#: Label names and values of a series, sorted.
Labels = tuple[tuple[str, str], ...]


@dataclass
class Prometheus:
    """Scrapes `targets` (host:port) as one job; use it as a context manager.

    `rules` are rule files; `alertmanager` is the host:port of one; `scrape` are further keys of
    the scrape configuration, such as tls_config.
    """

    folder: Path
    targets: Sequence[str]
    rules: Sequence[Path] = ()
    alertmanager: str = ""
    interval: str = "1s"
    job: str = "costmeter"
    scrape: Mapping[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "prometheus.log").read_text("utf-8")

    def start(self, seconds: float = 30) -> Prometheus:
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("there is no prometheus on this machine (Debian: apt install prometheus)")
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "prometheus.yml"
        # JSON is YAML, and it needs no quoting rules of ours.
        config.write_text(json.dumps(self._config()), "utf-8")
        with (self.folder / "prometheus.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    program, f"--config.file={config}",
                    f"--storage.tsdb.path={self.folder / 'tsdb'}",
                    f"--web.listen-address={self.address}",
                    "--web.enable-lifecycle", "--log.level=warn",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self._ready, seconds, "Prometheus ready")
        return self

    def query(self, expression: str, at: float | None = None) -> dict[Labels, float]:
        """An instant query: value by labels (`__name__` among them where there is one)."""
        found = self._api("query", {"query": expression, "time": str(at or time.time())})
        if found["resultType"] == "scalar":
            return {(): float(found["result"][1])}
        return {_key(row["metric"]): float(row["value"][1]) for row in found["result"]}

    def value(self, expression: str) -> float | None:
        """The one value of an expression; None when it has no result."""
        found = self.query(expression)
        assert len(found) <= 1, f"{expression} has {len(found)} results"
        return next(iter(found.values()), None)

    def query_range(
        self, expression: str, start: float, end: float, step: float = 1
    ) -> dict[Labels, list[tuple[float, float]]]:
        """(time, value) pairs by labels."""
        found = self._api(
            "query_range",
            {"query": expression, "start": str(start), "end": str(end), "step": str(step)},
        )
        return {
            _key(row["metric"]): [(float(at), float(value)) for at, value in row["values"]]
            for row in found["result"]
        }

    def samples(self, selector: str, seconds: float) -> dict[Labels, list[tuple[float, float]]]:
        """The raw samples of the last `seconds`, as they were scraped."""
        found = self._api("query", {"query": f"{selector}[{max(1, round(seconds))}s]"})
        return {
            _key(row["metric"]): [(float(at), float(value)) for at, value in row["values"]]
            for row in found["result"]
        }

    def alerts(self) -> list[dict[str, Any]]:
        """What is pending or firing."""
        return list(self._api("alerts", {})["alerts"])

    def __enter__(self) -> Prometheus:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "global": {
                "scrape_interval": self.interval,
                "scrape_timeout": self.interval,
                "evaluation_interval": self.interval,
            },
            "rule_files": [str(path) for path in self.rules],
            "scrape_configs": [
                {
                    "job_name": self.job,
                    "static_configs": [{"targets": list(self.targets)}],
                    **self.scrape,
                }
            ],
        }
        if self.alertmanager:
            config["alerting"] = {
                "alertmanagers": [{"static_configs": [{"targets": [self.alertmanager]}]}]
            }
        return config

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _api(self, path: str, fields: Mapping[str, str]) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(fields)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{fields}: {error.read().decode()}") from None


def _key(metric: Mapping[str, str]) -> Labels:
    return tuple(sorted(metric.items()))
