"""A real Prometheus on a finished history: it scrapes nothing and keeps everything."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.exporter import wait_until
from fakes.prometheus import Labels, Prometheus
from rules.tools import program


@dataclass
class History(Prometheus):
    """Answers from the blocks in `folder`/tsdb. Use it as a context manager."""

    targets: Sequence[str] = ()

    def __enter__(self) -> History:
        self.start()
        return self

    def start(self, seconds: float = 60) -> Prometheus:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "prometheus.yml"
        config.write_text(json.dumps({"global": {"scrape_interval": "1m"}}), "utf-8")
        for name in ("wal", "chunks_head", "lock"):
            shutil.rmtree(self.folder / "tsdb" / name, ignore_errors=True)
        with (self.folder / "prometheus.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    program("prometheus"), f"--config.file={config}",
                    f"--storage.tsdb.path={self.folder / 'tsdb'}",
                    "--storage.tsdb.retention.time=100y",
                    # Of one length: nothing is compacted while somebody measures.
                    "--storage.tsdb.min-block-duration=1d", "--storage.tsdb.max-block-duration=1d",
                    f"--web.listen-address={self.address}", "--log.level=warn",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self._ready, seconds, "Prometheus ready")
        return self

    def matrix(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int
    ) -> list[tuple[Labels, list[tuple[float, str]]]]:
        """A range query with values as the text in which Prometheus gives them."""
        found = self.ask(
            "query_range",
            {
                "query": expression,
                "start": f"{start_ms / 1000:.3f}",
                "end": f"{end_ms / 1000:.3f}",
                "step": f"{step_ms / 1000:.3f}",
            },
        )
        return [(tuple(sorted(row["metric"].items())), row["values"]) for row in found["result"]]

    def ask(self, path: str, fields: dict[str, str]) -> Any:
        """The `data` of an answer of the HTTP API; AssertionError with its words on an error."""
        # Queries may be long, so they are posted; the values of a label can only be got.
        url, text = f"http://{self.address}/api/v1/{path}", urllib.parse.urlencode(fields)
        posted = text.encode() if path.startswith("query") else None
        if posted is None:
            url = f"{url}?{text}"
        try:
            with urllib.request.urlopen(url, posted, timeout=120) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{fields}: {error.read().decode()}") from None


def folder_of(root: Path) -> Path:
    """Where `History(root)` looks for blocks."""
    return root / "tsdb"
