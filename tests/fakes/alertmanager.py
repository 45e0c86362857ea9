"""A real Alertmanager with the shipped routing, and the web server that its pages go to."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fakes.exporter import ROOT, free_port, wait_until

SHIPPED = ROOT / "deploy" / "alertmanager"
#: What the webhook has to be shown: the shipped configuration reads it from a file.
WEBHOOK_TOKEN = "the-pager-knows-this"
_SECRETS = "/etc/alertmanager/secrets"
_PAGER = "127.0.0.1:9095"


@dataclass(frozen=True)
class Page:
    """One message as it arrived. `at` is Unix seconds."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]

    def alerts(self, status: str = "firing") -> list[dict[str, Any]]:
        """The alerts of a webhook message with this status; a Slack message has none."""
        return [alert for alert in self.body.get("alerts", []) if alert["status"] == status]


class Webhook:
    """Records every message that is posted to it; use it as a context manager."""

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def to(self, path: str) -> list[Page]:
        """What was posted to a path so far."""
        return [page for page in list(self.pages) if page.path == path]

    def wait_for(self, path: str, test: Callable[[Page], object], seconds: float) -> Page:
        """The first message to a path that passes the test; AssertionError without one."""
        try:
            found: Page = wait_until(
                lambda: next(filter(test, self.to(path)), None), seconds, f"a message to {path}"
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; there were {self.pages}") from None
        return found

    def __enter__(self) -> Webhook:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                named = {name.lower(): value for name, value in self.headers.items()}
                pages.append(Page(time.time(), self.path, named, json.loads(body)))
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
                """Messages are recorded, not printed."""

        return Handler


def shipped_config(folder: Path, webhook: Webhook, group_wait: str | None = "1s") -> Path:
    """The shipped configuration, changed only in addresses, secrets and waiting times.

    None leaves the waiting times as they are shipped. Pages arrive at `/costmeter`, messages
    to the Slack channels at `/slack`.
    """
    secrets = folder / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "webhook-token").write_text(WEBHOOK_TOKEN, "utf-8")
    (secrets / "slack-url").write_text(f"http://{webhook.address}/slack", "utf-8")
    shutil.copytree(SHIPPED / "templates", folder / "templates")
    text = (SHIPPED / "alertmanager.yml").read_text("utf-8")
    for part in (_SECRETS, _PAGER):
        assert part in text, f"the shipped configuration no longer holds {part}"
    text = text.replace(_SECRETS, str(secrets)).replace(_PAGER, webhook.address)
    if group_wait is not None:
        text = re.sub(r"(?m)^(\s*group_wait:).*$", rf"\1 {group_wait}", text)
    path = folder / "alertmanager.yml"
    path.write_text(text, "utf-8")
    return path


@dataclass
class Alertmanager:
    """One alone, without a cluster; use it as a context manager."""

    folder: Path
    config: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "alertmanager.log").read_text("utf-8")

    def start(self, seconds: float = 30) -> Alertmanager:
        program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        if program is None:
            pytest.skip(
                "there is no Alertmanager here (Debian: apt install prometheus-alertmanager)"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "alertmanager.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    program, f"--config.file={self.config}",
                    f"--storage.path={self.folder / 'data'}",
                    f"--web.listen-address={self.address}", "--cluster.listen-address=",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self._ready, seconds, "Alertmanager ready")
        return self

    def alerts(self) -> list[dict[str, Any]]:
        """What it knows of, inhibited and silenced ones among it."""
        with urllib.request.urlopen(f"http://{self.address}/api/v2/alerts", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found

    def __enter__(self) -> Alertmanager:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
