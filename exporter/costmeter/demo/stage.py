"""The programs of the demonstration, started in order and ended together."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from costmeter.demo import grafana, hasten
from costmeter.demo.children import HOST, Child, Stop, Trouble, fetch, free_ports
from costmeter.demo.past import Past
from costmeter.demo.programs import Programs
from costmeter.demo.receiver import Receiver
from costmeter.demo.scene import HISTORY_MS, Scene, config, write_trace
from costmeter.demo.screen import Screen
from costmeter.model import NANO_PER_USD

JOB = "costmeter"
#: As the documentation asks: two scrapes and an evaluation.
BIRTH_HOLD_SECONDS = 3 * hasten.INTERVAL_SECONDS
_IMPORT_SECONDS = 300


class Parts(NamedTuple):
    """What is shipped: files as (name, text), configurations as text."""

    rules: Sequence[tuple[str, str]]
    prometheus: str
    alertmanager: str
    grafana: grafana.Provisioning | None

    @property
    def recording(self) -> str:
        return dict(self.rules)["recording.rules.yml"]


class Stage:
    """Everything lies in `folder` and listens on loopback. `close` ends what `set_up` began."""

    def __init__(
        self, folder: Path, parts: Parts, programs: Programs, screen: Screen, stop: Stop,
        port: int | None,
    ) -> None:  # fmt: skip
        ports = [f"{HOST}:{number}" for number in free_ports(4, port)]
        self.exporter_at, self.prometheus_at, self.alertmanager_at, self.grafana_at = ports
        self.folder = folder
        self.receiver: Receiver | None = None
        self.exporter: Child | None = None
        self.children: list[Child] = []
        self._parts, self._programs = parts, programs
        self._screen, self._stop = screen, stop

    @property
    def can_page(self) -> bool:
        """Prometheus and Alertmanager are here and run."""
        names = {child.name for child in self.children if not child.ended}
        return {"Prometheus", "Alertmanager"} <= names

    @property
    def config_file(self) -> Path:
        return self.folder / "costmeter.yml"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.db"

    def set_up(self, play: Scene) -> None:
        """Start everything. Raises Trouble, or Stopped."""
        self.config_file.write_text(config(play, BIRTH_HOLD_SECONDS), "utf-8")
        self.receiver = Receiver()
        self._start_alertmanager(self.receiver.address)
        trace = self.folder / "history.ndjson"
        write_trace(trace, [call.call for call in play.calls])
        bringing = self._costmeter("import", trace, name="Import")
        # Two cores are enough to do both at once.
        self._write_past(play)
        bringing.finish(self._stop, _IMPORT_SECONDS)
        self.children.remove(bringing)
        usd = play.past_nano / NANO_PER_USD
        days = HISTORY_MS / timedelta(days=1).total_seconds() / 1_000
        self._screen.step(
            f"the ledger has {days:.0f} days: {len(play.calls):,} calls, {usd:,.2f} USD"
        )
        self.exporter = self._costmeter(
            "serve", "--web.listen-address", self.exporter_at, name="The exporter"
        )
        self.exporter.ready(self._stop, f"http://{self.exporter_at}/-/ready")
        self._screen.step("the exporter is up")
        self._start_prometheus()
        self._start_grafana()

    def links(self) -> list[tuple[str, str]]:
        """What to open, by name."""
        running = {child.name for child in self.children if not child.ended}
        rows = [
            ("costmeter", f"http://{self.exporter_at}/"),
            ("metrics", f"http://{self.exporter_at}/metrics"),
        ]
        if "Prometheus" in running:
            pages = f"http://{self.prometheus_at}"
            if fetch(f"{pages}/alerts") is None:
                # Debian's Prometheus comes with the classic pages only.
                pages += "/classic"
            graph = "graph?g0.expr=job%3Allm_net_cost%3Aincrease1h&g0.tab=0&g0.range_input=1d"
            rows += [("graph", f"{pages}/{graph}"), ("alerts", f"{pages}/alerts")]
        if "Alertmanager" in running:
            rows.append(("Alertmanager", f"http://{self.alertmanager_at}/"))
        if "Grafana" in running:
            rows.append(("dashboards", f"http://{self.grafana_at}/dashboards"))
        question = f"costmeter cost --by tenant_id,model --since 7d --ledger.path {self.ledger}"
        return [*rows, ("ask", question)]

    def close(self) -> None:
        """End every program; nothing is left running."""
        for child in self.children:
            child.terminate()
        for child in self.children:
            child.wait(20)
        if self.receiver is not None:
            self.receiver.close()

    def _start(self, name: str, *command: str | Path, **environment: str) -> Child:
        child = Child(name, command, self.folder, environment)
        self.children.append(child)
        return child

    def _go_on_without(self, child: Child, said: str) -> None:
        self._screen.note(said)
        child.terminate()
        child.wait(20)
        self.children.remove(child)

    def _costmeter(self, *arguments: str | Path, name: str) -> Child:
        given = ("--config.file", self.config_file, "--ledger.path", self.ledger)
        return self._start(name, sys.executable, "-m", "costmeter", *arguments, *given)

    def _start_alertmanager(self, webhook: str) -> None:
        if self._programs.alertmanager is None:
            return
        path = self.folder / "alertmanager.yml"
        path.write_text(
            hasten.alertmanager_config(self._parts.alertmanager, webhook=webhook), "utf-8"
        )
        self._start(
            "Alertmanager", self._programs.alertmanager, f"--config.file={path}",
            f"--storage.path={self.folder / 'alertmanager'}",
            f"--web.listen-address={self.alertmanager_at}", "--cluster.listen-address=",
        )  # fmt: skip

    def _write_past(self, play: Scene) -> None:
        """Three days of samples, as blocks where Prometheus is going to look for them."""
        if self._programs.prometheus is None or self._programs.promtool is None:
            return
        target = (("job", JOB), ("instance", self.exporter_at))
        past = Past(
            play.start_ms, play.end_ms, ZoneInfo(play.zone), target, self._parts.recording
        )  # fmt: skip
        past.take(play.calls, play.budgets)
        self._stop.pause(0)
        scratch = self.folder / "past"
        for path in past.write(scratch):
            child = self._start(
                "promtool", self._programs.promtool, "tsdb", "create-blocks-from", "openmetrics",
                "--quiet", path, self.folder / "prometheus",
            )  # fmt: skip
            try:
                child.finish(self._stop, 60)
            except Trouble as trouble:
                self._go_on_without(child, f"{trouble}\nPrometheus starts without the days before")
                break
            self.children.remove(child)
        shutil.rmtree(scratch)

    def _start_prometheus(self) -> None:
        if self._programs.prometheus is None:
            return
        path = self.folder / "prometheus.yml"
        alertmanager = None if self._programs.alertmanager is None else self.alertmanager_at
        text = hasten.prometheus_config(
            self._parts.prometheus,
            rules=hasten.copy_rules(self._parts.rules, self.folder / "rules"),
            exporter=self.exporter_at, prometheus=self.prometheus_at, alertmanager=alertmanager,
        )  # fmt: skip
        path.write_text(text, "utf-8")
        child = self._start(
            "Prometheus", self._programs.prometheus, f"--config.file={path}",
            f"--storage.tsdb.path={self.folder / 'prometheus'}",
            f"--web.listen-address={self.prometheus_at}", "--log.level=warn",
        )  # fmt: skip
        try:
            child.ready(self._stop, f"http://{self.prometheus_at}/-/ready")
        except Trouble as trouble:
            advice = "the rules need Prometheus 2.42 or newer; the rest goes on without it"
            self._go_on_without(child, f"{trouble}\n{advice}")
            return
        self._screen.step(
            f"Prometheus is up, with the shipped rules; they wait {hasten.FACTOR} times shorter"
        )

    def _start_grafana(self) -> None:
        if self._programs.grafana is None or self._parts.grafana is None:
            return
        command, environment = grafana.prepare(
            self._programs.grafana, self.folder / "grafana", self._parts.grafana,
            address=self.grafana_at, prometheus=f"http://{self.prometheus_at}",
        )  # fmt: skip
        self._start("Grafana", *command, **environment)
        self._screen.step("Grafana is starting; its dashboards need a few seconds more")
