"""`costmeter demo` as somebody runs it: a page in the terminal, and nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from costmeter.demo.children import fetch
from e2e.pages import ROOT
from fakes.exporter import Exporter, environment, run, wait_until

#: What the demonstration promises, on a slow machine.
PAGED_WITHIN_SECONDS = 120
USED_UP = r"── PAGE[^─]*─+\nBudget acme of tenant acme is used up.*(?:\n +.*)+"
STARTED_WITHIN_SECONDS = 90
#: As Grafana starts: flags and variables; it shows what it was provisioned with.
GRAFANA = """#!{python}
import http.server, os, pathlib
provisioning = pathlib.Path(os.environ["GF_PATHS_PROVISIONING"])
text = os.environ["PROMETHEUS_URL"].encode() + b"".join(
    path.read_bytes() for path in sorted(provisioning.rglob("*.yml"))
)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text)
address = os.environ["GF_SERVER_HTTP_ADDR"], int(os.environ["GF_SERVER_HTTP_PORT"])
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""


class Demo:
    """A run of the command; what it says is gathered as it comes."""

    def __init__(self, folder: Path, *flags: str, path: str | None = None) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        changed = {"TMPDIR": str(self.temporary), **({} if path is None else {"PATH": path})}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "costmeter", "demo", *flags],
            env=environment() | changed, cwd=folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def said(self) -> str:
        return "".join(self.lines)

    @property
    def folder(self) -> Path:
        (found,) = self.temporary.iterdir()
        return found

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.said)
            assert match or self.process.poll() is None, self.said
            return match

        try:
            match: re.Match[str] = wait_until(found, seconds, pattern, every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said}") from None
        return match

    def link(self, name: str) -> str:
        return self.wait_for(rf"\n +{name} +(http://\S+)", STARTED_WITHIN_SECONDS)[1]

    def children(self) -> dict[int, str]:
        """Command lines of the processes that work in its folder, by process id."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.process.pid:
                try:
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
                if str(self.temporary) in command:
                    found[int(entry.name)] = command
        return found

    def child(self, part: str) -> int:
        """The process id of the child whose command line holds this."""
        (found,) = [pid for pid, command in self.children().items() if part in command]
        return found

    def end(self, number: signal.Signals | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(40)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)


@contextmanager
def demonstration(folder: Path, *flags: str, path: str | None = None) -> Iterator[Demo]:
    demo = Demo(folder, *flags, path=path)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.process.kill()
            demo.end()


def nothing_is_left(demo: Demo) -> None:
    assert demo.children() == {}
    assert list(demo.temporary.iterdir()) == []
    assert "Traceback" not in demo.said


def only(folder: Path, *programs: str) -> str:
    """A PATH with these programs of the machine and no others."""
    folder.mkdir()
    for name in programs:
        found = shutil.which(name)
        if found is not None:
            (folder / name).symlink_to(found)
    return str(folder)


def needs(*programs: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (make test installs them)")


def answer(url: str) -> str:
    found: bytes = wait_until(lambda: fetch(url), 30, f"an answer of {url}")
    return found.decode()


@pytest.mark.slow
def test_a_page_arrives_within_two_minutes_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    needs("prometheus", "promtool", "prometheus-alertmanager")
    grafana = tmp_path / "bin" / "grafana-server"
    grafana.parent.mkdir()
    grafana.write_text(GRAFANA.format(python=sys.executable), "utf-8")
    grafana.chmod(grafana.stat().st_mode | stat.S_IXUSR)
    started = time.monotonic()
    path = f"{grafana.parent}{os.pathsep}{os.environ['PATH']}"
    with demonstration(tmp_path, path=path) as demo:
        demo.wait_for("── PAGE  CRITICAL  to pager", PAGED_WITHIN_SECONDS)
        took = time.monotonic() - started
        print(f"a page after {took:.0f} s")
        assert took < PAGED_WITHIN_SECONDS
        # A runaway loop burns fast before the budget is gone; both are pages.
        told = demo.wait_for(r"the first page came (\d+) s after the start", 5)
        assert abs(int(told[1]) - took) < 5
        page = " ".join(demo.wait_for(USED_UP, 30)[0].split())
        share = re.search(r"Budget acme of tenant acme is used up: (\d+\.?\d*)%", page)
        amount = re.search(r"Spent (\d+\.\d\d) USD of (\d+)\.00 USD this month period", page)
        assert share is not None, page
        assert amount is not None, page
        assert float(amount[1]) > float(amount[2])
        assert float(share[1]) == pytest.approx(100 * float(amount[1]) / float(amount[2]), rel=1e-3)
        assert "Alert BudgetExceeded Budget acme of tenant acme, a month Runbook https://" in page
        runbook = re.search(r"Runbook https://\S+/(alert_rules/runbooks/BudgetExceeded\.md)", page)
        assert runbook is not None, page
        assert (ROOT / runbook[1]).is_file()

        check_links(demo)
        # The jump of spend is told, too: the days before are its baseline.
        demo.wait_for(r"Spend of costmeter jumped to \d+\.\d\d USD an hour", 60)
        assert "MESSAGE  WARNING  to team" in demo.said
        assert "No price is known for vllm/delta-chat-7b" in demo.said
        assert "CostmeterDown" not in demo.said

        assert demo.end(signal.SIGINT) == 0
        nothing_is_left(demo)


def check_links(demo: Demo) -> None:
    """Every link that was printed answers, with what it says."""
    assert "<title>" in answer(demo.link("costmeter"))
    metrics = answer(demo.link("metrics"))
    assert 'llm_budget_spent{budget="acme"' in metrics
    assert "alertmanager" in answer(demo.link("Alertmanager")).lower()
    graph, alerts = demo.link("graph"), demo.link("alerts")
    assert "prometheus" in answer(graph).lower()
    assert "prometheus" in answer(alerts).lower()
    prometheus = "/".join(graph.split("/")[:3])
    query = f"{prometheus}/api/v1/query?query="
    assert '"value"' in answer(query + "job%3Allm_net_cost%3Aincrease1h%20offset%202d")
    assert '"value"' in answer(query + "job%3Allm_net_cost%3Ahours24h%20%3E%3D%2020")
    provisioned = answer(demo.link("dashboards"))
    assert provisioned.startswith(prometheus)
    shown = re.search(r'"path": "(\S+)"', provisioned)
    assert shown is not None
    assert list(Path(shown[1]).glob("*.json"))
    asked = re.search(r"costmeter (cost .*)", demo.said)
    assert asked is not None
    done = run(*asked[1].split(), cwd=demo.temporary)
    assert done.returncode == 0, done.stderr
    assert "claude-opus-4-1" in done.stdout


@pytest.mark.slow
def test_without_prometheus_the_rest_goes_on(tmp_path: Path) -> None:
    with demonstration(tmp_path, path=only(tmp_path / "bin")) as demo:
        assert "<title>" in answer(demo.link("costmeter"))
        demo.wait_for(r"budget acme is crossed", 60)
        assert "Prometheus is not installed" in demo.said
        assert "Alertmanager is not installed" in demo.said
        assert "apt-get install --no-install-recommends prometheus-alertmanager" in demo.said
        assert "waiting for the first page" not in demo.said, "none can come"
        assert not re.search(r"\n +(graph|alerts|Alertmanager|dashboards) ", demo.said)
        assert demo.end(signal.SIGTERM) == 0
        nothing_is_left(demo)


@pytest.mark.slow
def test_a_program_that_does_not_run_is_named(tmp_path: Path) -> None:
    needs("prometheus-alertmanager")
    path = Path(only(tmp_path / "bin", "prometheus-alertmanager", "setpriv"))
    old = path / "prometheus"
    old.write_text(f"#!{sys.executable}\nraise SystemExit('field keep_firing_for not found')\n")
    old.chmod(0o755)
    with demonstration(tmp_path, path=str(path)) as demo:
        demo.link("Alertmanager")
        assert "promtool is not installed" in demo.said
        assert "Prometheus ended with exit code 1; its log is " in demo.said
        assert "field keep_firing_for not found\nthe rules need Prometheus 2.42" in demo.said
        assert not re.search(r"\n +(graph|alerts) ", demo.said)

        os.kill(demo.child("alertmanager.yml"), signal.SIGKILL)
        demo.wait_for(r"Alertmanager ended by SIGKILL; its log is \S+alertmanager.log", 10)
        demo.wait_for("the rest goes on without it", 5)
        os.kill(demo.child("costmeter serve"), signal.SIGKILL)
        demo.wait_for("costmeter: The exporter ended by SIGKILL; its log is ", 10)
        assert demo.end() == 1
        nothing_is_left(demo)


@pytest.mark.slow
def test_killed_itself_it_takes_its_programs_along(tmp_path: Path) -> None:
    needs("setpriv")
    with demonstration(tmp_path, path=only(tmp_path / "bin", "setpriv")) as demo:
        demo.link("costmeter")
        assert demo.children() != {}
        demo.end(signal.SIGKILL)
        wait_until(lambda: not demo.children(), 20, "no process is left")


@pytest.mark.slow
def test_quiet_for_a_while_with_a_folder_to_keep(tmp_path: Path) -> None:
    flags = ("--quiet", "--keep", "--duration", "1")
    with demonstration(tmp_path, *flags, path=only(tmp_path / "bin")) as demo:
        assert demo.end() == 0
        assert demo.children() == {}
        assert (demo.folder / "ledger.db").is_file()
        lines = demo.said.splitlines()
        assert len(lines) == 3, lines
        assert "Prometheus is not installed" in lines[0]
        assert lines[2].endswith(f"everything is kept in {demo.folder}")


def test_ctrl_c_at_the_very_start(tmp_path: Path) -> None:
    with demonstration(tmp_path, path=only(tmp_path / "bin")) as demo:
        demo.wait_for("a demonstration of costmeter", 20)
        assert demo.end(signal.SIGINT) == 0
        nothing_is_left(demo)


def test_a_busy_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with demonstration(tmp_path, "--port", str(port)) as demo:
            assert demo.end() == 1
            assert f"costmeter: port {port} cannot be used (Address already in use)" in demo.said
            nothing_is_left(demo)


def test_a_port_of_ones_own(tmp_path: Path) -> None:
    with demonstration(tmp_path, "--port", "70000") as demo:
        assert demo.end() == 1
        assert "costmeter: port 70000 cannot be used; write a number from 1 to 65535" in demo.said
        nothing_is_left(demo)


@pytest.mark.slow
def test_the_trace_is_the_same_every_time_and_can_be_replayed(tmp_path: Path) -> None:
    first, again = tmp_path / "trace.ndjson", tmp_path / "again.ndjson"
    done = run("demo", "--trace-only", first, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert run("demo", "--trace-only", again, cwd=tmp_path).returncode == 0
    assert first.read_bytes() == again.read_bytes()
    lines = first.read_text("utf-8").splitlines()
    assert done.stdout.startswith(f"{len(lines):,} events in ")

    end = tmp_path / "end.ndjson"
    end.write_text("\n".join(lines[-400:]), "utf-8")
    with Exporter(tmp_path / "exporter", "gpu: {enabled: false}") as exporter:
        exporter.start()
        played = run("replay", end, "--url", f"http://{exporter.address}", cwd=tmp_path)
        assert played.returncode == 0, played.stderr
        assert "400 of 400 events: 400 accepted, 0 duplicate, 0 rejected" in played.stderr


def test_a_trace_that_replay_would_take_for_csv_is_refused(tmp_path: Path) -> None:
    done = run("demo", "--trace-only", tmp_path / "trace.json", cwd=tmp_path)
    assert done.returncode == 1
    assert "name it trace.ndjson" in done.stderr
    assert list(tmp_path.iterdir()) == []
