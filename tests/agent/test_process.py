"""The agent as a process: what it shows, what it refuses, and what reaches a real server."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import urllib.error
import zlib
from pathlib import Path

import pytest

from agent.conftest import PROJECT, Node
from fakes.model_server import model_server

GPUS = "costmeter_agent_gpus"


def test_it_shows_the_gpus_and_says_what_it_does(node: Node) -> None:
    agent = node.agent("gpu: {owners: configured, tenant_id: acme, provider: onprem}\n")
    agent.wait(GPUS, 2)
    page = agent.page()
    assert "gpu_utilization_percent{" in page
    assert "costmeter_agent_forwarding 0" in page
    assert "costmeter_agent_spool_bytes" not in page
    landing = agent.page("/")
    assert "GPU 0: NVIDIA L40S" in landing
    assert "forward.url is not set" in landing
    assert agent.page("/-/healthy") == "healthy\n"
    assert agent.page("/-/ready") == "ready\n"
    openmetrics = agent.page(Accept="application/openmetrics-text; version=1.0.0")
    assert openmetrics.endswith("# EOF\n")
    assert "# TYPE gpu_energy_joules counter" in openmetrics
    only = agent.page("/metrics?name[]=costmeter_agent_gpus")
    assert [line for line in only.splitlines() if line[0] != "#"] == [f"{GPUS} 2"]
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10)
    try:
        for _ in range(2):  # on one connection
            connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            assert answer.getheader("content-encoding") == "gzip"
            assert b"gpu_power_watts" in zlib.decompress(answer.read(), 31)
        connection.request("HEAD", "/metrics")
        answer = connection.getresponse()
        assert int(answer.getheader("content-length", "0")) > 1_000
        assert answer.read() == b""
        connection.request("POST", "/-/reload")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"reloaded\n")
    finally:
        connection.close()
    assert agent.stop() == 0


def test_a_machine_without_a_gpu_runs_and_says_so(node: Node) -> None:
    node.library = node.folder
    agent = node.agent("gpu: {owners: configured}\n")
    agent.until(lambda: agent.value(GPUS), lambda found: found == 0, GPUS)
    assert "libnvidia-ml.so.1 was not found" in agent.page("/")
    assert "libnvidia-ml.so.1 was not found" in agent.log()
    assert agent.stop() == 0


@pytest.mark.slow
def test_tokens_of_a_model_server_stand_beside_its_gpus(node: Node) -> None:
    with model_server() as vllm:
        agent = node.agent(
            "gpu: {owners: configured, tenant_id: acme, serving_seconds: 5, serving: "
            f"[{{url: '{vllm.url}', model: chat}}]}}\n"
        )
        of = f'node="{socket.gethostname()}",model="chat",engine="vllm",namespace="",pod=""'
        series = f'gpu_serving_tokens_total{{{of},tenant_id="acme",token_class="output"}}'
        agent.wait(series, 0)
        vllm.output = 42
        agent.wait(series, 42)
        assert "Tokens of chat are read (vllm)." in agent.page("/")
    assert agent.stop() == 0


def test_a_scrape_waits_for_no_driver(node: Node) -> None:
    agent = node.agent("gpu: {owners: configured}\n")
    agent.wait(GPUS, 2)
    node.machine.gpus[0]["hang"] = 1
    node.machine.write()
    age = "gpu_sample_age_seconds"
    series = next(line for line in agent.page().splitlines() if line.startswith(age + "{"))
    agent.wait(series.rpartition(" ")[0], 2)
    assert "gpu_power_watts{" in agent.page()  # the last good sample
    node.machine.gpus[0].pop("hang")
    node.machine.write()
    assert agent.stop() == 0


@pytest.mark.slow
def test_what_it_measures_is_booked_by_a_server_once(node: Node) -> None:
    token = "t" * 40
    (node.folder / "token").write_text("wrong" * 8)
    (node.folder / "token").chmod(0o600)
    hashed = __import__("hashlib").sha256(token.encode()).hexdigest()
    (node.folder / "tokens.yml").write_text(f"- name: gpu-nodes\n  sha256: {hashed}\n")
    (node.folder / "tokens.yml").chmod(0o600)
    server = node.server("gpu: {enabled: false}\ningest: {tokens_file: tokens.yml}\n")
    agent = node.agent(
        "gpu: {owners: configured, tenant_id: acme, segment_seconds: 1}\n"
        f"forward: {{url: 'http://127.0.0.1:{server.port}', token_file: token,"
        " interval_seconds: 1}\n"
    )
    agent.wait('costmeter_agent_forward_failures_total{reason="unauthorized"}', 1)
    assert (agent.value("costmeter_agent_spool_segments") or 0) >= 0
    (node.folder / "token").write_text(token)
    agent.wait('costmeter_agent_segments_forwarded_total{outcome="accepted"}', 4, 30)
    accepted = server.wait('costmeter_events_accepted_total{feed="gpu-nodes"}', 4)
    assert accepted >= 4
    assert agent.stop() == 0
    assert list((node.folder / "costmeter-agent").glob("*.spool")) == []
    assert token not in agent.log()
    assert server.stop() == 0


def test_a_second_agent_on_the_node_is_refused(node: Node) -> None:
    config = "gpu: {owners: configured}\nforward: {url: 'http://127.0.0.1:1'}\n"
    agent = node.agent(config)
    agent.wait("costmeter_agent_forwarding", 1)
    second = subprocess.run(
        [
            sys.executable, "-m", "costmeter", "agent", "--config.file", "agent.yml",
            "--web.listen-address", "127.0.0.1:0",
        ],
        cwd=node.folder, env={"PYTHONPATH": str(PROJECT / "exporter")}, text=True,
        capture_output=True, timeout=30,
    )  # fmt: skip
    assert second.returncode == 1
    assert second.stderr.endswith("(forward.spool_folder)\n")
    assert "one agent runs on a node" in second.stderr
    assert agent.stop() == 0


def test_it_imports_nothing_of_the_server() -> None:
    code = (
        "import sys, costmeter.cli, costmeter.cli.agent, costmeter.agent.gpus,"
        " costmeter.agent.sender, costmeter.agent.transport, costmeter.agent.spool\n"
        "print(*sorted(m for m in sys.modules), sep='\\n')"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, check=True, timeout=60,
        env={"PYTHONPATH": str(PROJECT / "exporter")},
    ).stdout.split()  # fmt: skip
    heavy = {
        "uvicorn", "prometheus_client", "msgspec", "bcrypt", "uvloop", "sqlite3", "isal", "numpy",
        "costmeter.ledger", "costmeter.web", "costmeter.ingest", "costmeter.engine",
        "costmeter.sources", "costmeter.sdk", "costmeter.config.schema", "costmeter.cli.cost",
        "costmeter.pricing.book",
    }  # fmt: skip
    assert heavy & set(loaded) == set()


def test_a_mistake_stops_the_start_and_names_its_place(tmp_path: Path) -> None:
    config = tmp_path / "agent.yml"
    config.write_text("forward: {url: ftp://x}\nledger: {path: x}\n")
    done = subprocess.run(
        [sys.executable, "-m", "costmeter", "agent", "--config.file", str(config)],
        text=True, capture_output=True, timeout=30, cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT / "exporter")},
    )  # fmt: skip
    assert done.returncode == 2
    assert "agent.yml:1: forward.url: 'ftp://x' is not a base URL" in done.stderr
    assert "ledger: is a section of `costmeter serve`" in done.stderr


def test_a_password_guards_what_is_read(node: Node) -> None:
    bcrypt = pytest.importorskip("bcrypt")
    hashed = bcrypt.hashpw(b"open", bcrypt.gensalt(4)).decode()
    (node.folder / "web.yml").write_text(f"basic_auth_users: {{ann: '{hashed}'}}\n")
    agent = node.agent("gpu: {enabled: false}\n", "--web.config.file", "web.yml")
    agent.until(lambda: float(_up(agent.port)), lambda up: up == 1, "the agent")
    for path, status in (("/metrics", 401), ("/", 401), ("/-/healthy", 200)):
        connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10)
        connection.request("GET", path)
        assert connection.getresponse().status == status
        connection.close()
    assert GPUS in agent.page(Authorization="Basic YW5uOm9wZW4=")
    with pytest.raises(urllib.error.HTTPError) as caught:
        agent.page(Authorization="Basic YW5uOnNodXQ=")
    caught.value.close()
    assert agent.stop() == 0


def _up(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/-/healthy")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
