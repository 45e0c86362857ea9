"""The compose file and the image, as far as they can be judged without a docker engine."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import subprocess
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

import costmeter
from costmeter.cli.parser import build_parser
from costmeter.config import load_config, load_tokens
from costmeter.config.agent import load_agent_config
from fakes.exporter import ROOT

COMPOSE = ROOT / "deploy" / "compose"
FILE = yaml.safe_load((COMPOSE / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
DOCKERFILE = (ROOT / "deploy" / "container" / "Dockerfile").read_text("utf-8")
GRAFANA = ROOT / "deploy" / "grafana" / "provisioning"


def mounts(service: str) -> dict[str, str]:
    """What is mounted from where, by the place in the container."""
    found = {}
    for text in SERVICES[service].get("volumes", ()):
        source, target, *mode = text.split(":")
        found[target] = source
        assert source in FILE["volumes"] or mode == ["ro"], f"{text} could be written to"
    return found


def on_disk(source: str) -> Path:
    return (COMPOSE / source).resolve()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the folder in which `prepare` was run."""
    folder = tmp_path_factory.mktemp("compose") / "compose"
    shutil.copytree(COMPOSE, folder, ignore=shutil.ignore_patterns("secrets"))
    subprocess.run([folder / "prepare"], check=True, capture_output=True)
    return folder


def test_the_file_is_what_the_specification_allows() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    pytest.importorskip("check_jsonschema")
    vendored = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = jsonschema.validators.validator_for({})(json.loads(vendored.read_text("utf-8")))
    assert [error.message for error in validator.iter_errors(FILE)] == []
    assert not validator.is_valid({"services": {"a": {"imagee": "b:1"}}})


def test_every_mount_is_there(prepared: Path) -> None:
    for service in SERVICES:
        for source in mounts(service).values():
            if source.startswith("./secrets/"):
                assert (prepared / source).exists(), source
            elif source.startswith("."):
                assert on_disk(source).exists(), source
            else:
                assert source in FILE["volumes"]


def test_the_agent_is_told_of_what_is_mounted(prepared: Path, tmp_path: Path) -> None:
    there = mounts("agent")
    text = (COMPOSE / "agent.yml").read_text("utf-8")
    token = "/run/costmeter-token"
    (tmp_path / "agent.yml").write_text(text.replace(token, str(prepared / there[token])))
    config = load_agent_config(tmp_path / "agent.yml", {})
    assert there[str(config.forward.spool_folder)] == "spool"
    assert config.forward.url == "http://costmeter:9952"


def test_every_volume_is_used() -> None:
    used = {source for service in SERVICES for source in mounts(service).values()}
    assert set(FILE["volumes"]) <= used


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_images_are_pinned(service: str) -> None:
    name, _, tag = SERVICES[service]["image"].rpartition(":")
    assert name
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag)
    if name == "costmeter":
        assert tag == costmeter.__version__


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_services_may_do_little(service: str) -> None:
    section = SERVICES[service]
    assert section["cap_drop"] == ["ALL"]
    assert section["security_opt"] == ["no-new-privileges:true"]
    assert section["read_only"] is (service != "grafana")
    assert "privileged" not in section
    for port in section.get("ports", ()):
        assert port.startswith("127.0.0.1:"), f"{port} is open to other machines"


@pytest.mark.parametrize("service", sorted(set(SERVICES) - {"costmeter", "calls", "agent"}))
def test_services_say_when_they_are_ready(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"


def test_commands_are_commands_of_costmeter() -> None:
    parser = build_parser()
    parser.parse_args(SERVICES["costmeter"]["command"])
    parser.parse_args(SERVICES["agent"]["command"])
    (script,) = SERVICES["calls"]["command"]
    commands = re.findall(r"costmeter ([^;]+)", script)
    assert len(commands) == 2
    for command in commands:
        parser.parse_args(command.split())
    assert "/run/costmeter-token" in mounts("calls")


def test_the_exporter_reads_what_is_mounted(prepared: Path, tmp_path: Path) -> None:
    """Its configuration and tokens, laid out as in the container."""
    for target, source in mounts("costmeter").items():
        if source.startswith("."):
            shutil.copy(prepared / source, tmp_path / Path(target).name)
    (name,) = [
        word for word in SERVICES["costmeter"]["command"] if word.startswith("/etc/costmeter/")
    ]
    assert name in mounts("costmeter")
    config = load_config(tmp_path / Path(name).name, {}, {})
    assert [budget.name for budget in config.budgets.items] == ["acme", "bolt", "cobalt"]
    assert config.ingest.tokens_file is not None
    assert config.ingest.tokens_file.parent == tmp_path
    secret = (prepared / "secrets" / "token").read_text("utf-8")
    found = load_tokens(config.ingest.tokens_file).find(secret)
    assert found is not None
    assert found.may_write


def test_secrets_are_made_once_and_kept_from_others(prepared: Path) -> None:
    secrets = prepared / "secrets"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    token = (secrets / "token").read_text("utf-8")
    assert re.fullmatch(r"[0-9a-f]{48}", token)
    assert hashlib.sha256(token.encode()).hexdigest() in (secrets / "tokens.yml").read_text("utf-8")
    before = {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()}
    subprocess.run([prepared / "prepare"], check=True, capture_output=True)
    assert {path: path.read_bytes() for path in secrets.rglob("*") if path.is_file()} == before
    (secrets / "token").unlink()
    subprocess.run([prepared / "prepare"], check=True, capture_output=True)
    renewed = (secrets / "token").read_text("utf-8")
    assert renewed != token
    tokens = (secrets / "tokens.yml").read_text("utf-8")
    assert hashlib.sha256(renewed.encode()).hexdigest() in tokens


def test_secrets_are_no_part_of_the_project() -> None:
    done = subprocess.run(
        ["git", "check-ignore", "deploy/compose/secrets/token"], cwd=ROOT, capture_output=True
    )
    if done.returncode == 128:
        pytest.skip("this is no git checkout")
    assert done.returncode == 0
    ignored = (ROOT / "deploy" / "container" / "Dockerfile.dockerignore").read_text("utf-8")
    assert "deploy/compose/secrets" in ignored.splitlines()


def test_prometheus_differs_from_the_shipped_one_in_addresses_alone() -> None:
    shipped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text("utf-8"))
    ours = yaml.safe_load((COMPOSE / "prometheus.yml").read_text("utf-8"))
    (alertmanager,) = ours["alerting"]["alertmanagers"]
    (rules,) = ours["rule_files"]
    # The agent is found by its name, so that its absence is no failed scrape.
    (agents,) = [job for job in ours["scrape_configs"] if job["job_name"] == "costmeter-agent"]
    ours["scrape_configs"].remove(agents)
    assert agents["dns_sd_configs"][0]["names"] == ["agent"]
    assert agents["relabel_configs"] == [{"target_label": "job", "replacement": "costmeter"}]
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in ours["scrape_configs"]
    }
    assert targets["costmeter"] == ["costmeter:9952"]
    assert alertmanager["static_configs"][0]["targets"] == ["alertmanager:9093"]
    folder, _, pattern = rules.rpartition("/")
    assert list(on_disk(mounts("prometheus")[folder]).glob(pattern))
    for config in (shipped, ours):
        del config["alerting"], config["rule_files"]
        for job in config["scrape_configs"]:
            del job["static_configs"]
    assert ours == shipped


def test_alertmanager_finds_its_secrets(prepared: Path) -> None:
    text = on_disk(mounts("alertmanager")["/etc/alertmanager/alertmanager.yml"]).read_text("utf-8")
    named = re.findall(r"/etc/alertmanager/secrets/(\S+)", text)
    folder = prepared / mounts("alertmanager")["/etc/alertmanager/secrets"]
    assert named
    assert {name for name in named if not (folder / name).is_file()} == set()


def test_grafana_is_provisioned_with_the_dashboards() -> None:
    places = mounts("grafana")
    assert on_disk(places["/etc/grafana/provisioning"]) == GRAFANA
    (provider,) = [
        provider
        for path in (GRAFANA / "dashboards").glob("*.y*ml")
        for provider in yaml.safe_load(path.read_text("utf-8"))["providers"]
    ]
    shown = on_disk(places[provider["options"]["path"]])
    assert sorted(path.name for path in shown.glob("*.json"))
    sources = [
        source
        for path in (GRAFANA / "datasources").glob("*.y*ml")
        for source in yaml.safe_load(path.read_text("utf-8"))["datasources"]
    ]
    assert [source["type"] for source in sources] == ["prometheus"]
    assert address_of(sources[0]["url"]) == "http://prometheus:9090"


def address_of(url: str) -> str:
    """As Grafana reads it: a variable is what the compose file sets it to."""
    variables = SERVICES["grafana"]["environment"]
    return re.sub(r"\$\{?(\w+)\}?", lambda found: str(variables[found[1]]), url)


def test_the_image_holds_what_the_package_needs() -> None:
    copied = set(re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE))
    names = {name for line in copied for name in line.split()}
    ignored = (ROOT / "deploy" / "container" / "Dockerfile.dockerignore").read_text("utf-8")
    assert {f"!{name}" for name in names} <= set(ignored.splitlines())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["force-include"], *wheel["packages"], project["project"]["readme"]}
    needed |= {*project["project"]["license-files"], "pyproject.toml", "constraints.txt"}
    assert {path for path in needed if path.split("/")[0] not in names} == set()
    for name in names:
        assert (ROOT / name).exists(), name


def test_the_image_runs_as_nobody_and_writes_in_one_place() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(set(bases)) == 1, "the environment is built where it runs"
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert bases[0] == "${BASE}"
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-slim-[a-z]+", base)
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    user = re.search(r"^USER (\d+):(\d+)$", last, re.MULTILINE)
    assert user is not None
    assert int(user[1]) > 0
    assert last.index("\nUSER ") > last.rindex("\nRUN ")
    (volume,) = re.findall(r"^VOLUME (\S+)$", last, re.MULTILINE)
    assert volume in mounts("costmeter")
    assert f"COSTMETER_LEDGER_PATH={volume}/ledger.db" in last
    assert re.search(r'^ENTRYPOINT \["costmeter"\]$', last, re.MULTILINE)


def test_the_image_is_asked_for_its_health_through_python() -> None:
    found = re.search(r"^HEALTHCHECK [^\[]+CMD (\[.+\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert found is not None
    program, flag, code = json.loads(found[1].splitlines()[0])
    assert (program, flag) == ("python", "-c")
    compile(code, "healthcheck", "exec")
    assert "/-/healthy" in code
