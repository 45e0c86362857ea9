"""`costmeter init`: every file it writes is one that the programs take as it is."""

from __future__ import annotations

import itertools
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from costmeter.cli import main
from costmeter.cli.shipped import rule_files
from costmeter.cli.template import COMMON, PRICE_FILE, quoted, render
from costmeter.config import Config, load_config, load_tokens
from costmeter.config.schema import Config as Schema
from costmeter.config.spec import settings_of
from costmeter.model import NANO_PER_USD
from costmeter.pricing import load_price_book
from rules.tools import amtool, program

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


#: What changes the configuration itself.
CHANGING = [
    ["--budget", "50000"],
    ["--tenant", "acme=5000", "--tenant", "007=0.5"],
    ["--token", "gateway", "--token", "app=acme"],
    ["--listen", "0.0.0.0:9999"],
    ["--timezone", "Asia/Kolkata", "--ledger", "var/l.db"],
    ["--gpu", "false"],
    ["--schema"],
]
OPTIONS = [*CHANGING, ["--prometheus", "--alertmanager"]]


@pytest.mark.slow
def test_every_combination_of_options_loads_without_a_warning() -> None:
    chosen = itertools.chain.from_iterable(
        itertools.combinations(CHANGING, count) for count in range(len(CHANGING) + 1)
    )
    for number, options in enumerate(chosen):
        path = Path(str(number)) / "costmeter.yml"
        assert main(["init", str(path), *itertools.chain(*options)]) == 0
        config = load_config(path, {})
        assert config.warnings == ()
        if config.ingest.tokens_file is not None:
            assert load_tokens(config.ingest.tokens_file).warnings == ()


@pytest.mark.parametrize("options", [[], list(itertools.chain(*OPTIONS))])
def test_check_config_is_content(capsys: Capture, options: list[str]) -> None:
    assert main(["init", *options]) == 0
    capsys.readouterr()
    assert main(["check-config", "costmeter.yml"]) == 0
    assert capsys.readouterr().out == "costmeter.yml is fine\n"


def test_the_options_are_in_force() -> None:
    assert main(["init", *itertools.chain(*OPTIONS)]) == 0
    config = load_config(Path("costmeter.yml"), {})
    assert config.budgets.monthly_nano == 50_000 * NANO_PER_USD
    assert [(b.name, b.tenant_id, b.limit_nano) for b in config.budgets.items] == [
        ("acme", "acme", 5_000 * NANO_PER_USD),
        ("007", "007", NANO_PER_USD // 2),
    ]
    assert config.web.listen_address == "0.0.0.0:9999"
    assert (config.ledger.reporting_timezone, config.ledger.cell_minutes) == ("Asia/Kolkata", 15)
    assert config.ledger.path == Path("var/l.db")
    assert config.gpu.enabled == "false"
    assert Path("costmeter.yml").read_text().startswith("# yaml-language-server: $schema=costm")


def test_without_options_it_means_the_defaults() -> None:
    assert main(["init"]) == 0
    assert load_config(Path("costmeter.yml"), {}) == load_config(None, {})


def test_every_commented_setting_can_be_uncommented() -> None:
    lines = render({}, schema=False).splitlines()
    settable = [n for n, line in enumerate(lines) if re.match(r"  #\w+: ?", line)]
    named = {f"{name}.{key}" for name, keys in COMMON.items() for key in keys}
    assert len(settable) == len(named)
    for number in settable:
        if lines[number].endswith("items:"):
            continue
        changed = [*lines]
        changed[number] = lines[number].replace("#", "", 1)
        Path("c.yml").write_text("\n".join(changed))
        assert load_config(Path("c.yml"), {}) == load_config(None, {}), changed[number]


def test_all_examples_can_be_uncommented_at_once() -> None:
    text = render({}, schema=False)
    for line in PRICE_FILE.splitlines():
        text = text.replace(f"  #   {line}\n", "")
    Path("c.yml").write_text(re.sub(r"^( *)#(?! \S)", r"\1", text, flags=re.MULTILINE))
    config = load_config(Path("c.yml"), {})
    assert [budget.name for budget in config.budgets.items] == ["search-production", "acme"]
    assert [scope.name for scope in config.scopes] == ["openai", "aws/bedrock", "aws/rest", "rest"]


def test_the_example_of_a_price_file_is_one() -> None:
    Path("prices.yml").write_text(PRICE_FILE)
    load_price_book((Path("prices.yml"),))
    shown = render({}, schema=False)
    assert all(f"  #   {line}\n" in shown for line in PRICE_FILE.splitlines())


def test_the_common_settings_exist_and_no_section_is_forgotten() -> None:
    known = settings_of(Schema)
    rare = {
        "series", "jobs", "sources", "contracts", "currencies", "fixed_costs", "inventory",
        "alertmanager", "forecast", "serving", "anomalies",
    }  # fmt: skip
    assert set(known) - set(COMMON) == rare
    for name, keys in COMMON.items():
        if keys:
            assert set(keys) <= set(settings_of(known[name].kind.record))  # type: ignore[attr-defined]


@settings(max_examples=200)
@given(st.text())
@example("true")
@example("007")
@example("a\x85b\u2028c\ufeff🙂\\\"'")
@example("x " * 100)
def test_any_text_can_be_quoted(text: str) -> None:
    shown = quoted(text)
    assert "\n" not in shown
    assert yaml.safe_load(f"a: {shown}") == {"a": text}


def test_tokens_are_shown_once_and_work(capsys: Capture) -> None:
    assert main(["init", "--token", "gateway", "--token", "app=acme corp"]) == 0
    out = capsys.readouterr().out
    secrets = dict(re.findall(r"^token of (\S+) .*: (cm_\S+)$", out, re.MULTILINE))
    path = Path("tokens.yml")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tokens = load_tokens(path)
    assert tokens.warnings == ()
    found = {name: tokens.find(secret) for name, secret in secrets.items()}
    assert {name: token and token.tenant_id for name, token in found.items()} == {
        "gateway": "",
        "app": "acme corp",
    }
    written = path.read_text() + Path("costmeter.yml").read_text()
    assert not any(secret in written for secret in secrets.values())


def test_tokens_are_never_replaced(capsys: Capture) -> None:
    assert main(["init", "--token", "gateway"]) == 0
    before = Path("tokens.yml").read_text()
    assert main(["init", "--force", "--token", "gateway"]) == 1
    assert "its senders would be locked out" in capsys.readouterr().err
    assert Path("tokens.yml").read_text() == before


def test_a_file_that_is_there_stays_unless_forced(capsys: Capture) -> None:
    Path("costmeter.yml").write_text("log: {}\n")
    assert main(["init", "--prometheus"]) == 1
    assert "costmeter.yml would change; nothing was written" in capsys.readouterr().err
    assert sorted(Path().iterdir()) == [Path("costmeter.yml")]
    assert main(["init", "--force"]) == 0
    assert main(["init"]) == 0
    assert "unchanged costmeter.yml" in capsys.readouterr().out


def test_standard_output(capsys: Capture) -> None:
    assert main(["init", "-", "--budget", "10"]) == 0
    out = capsys.readouterr().out
    assert yaml.safe_load(out)["budgets"]["monthly_usd"] == 10
    assert list(Path().iterdir()) == []
    assert main(["init", "-", "--token", "a"]) == 1
    assert "name a FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("listen", "target"),
    [
        (None, "127.0.0.1:9952"),
        (":9000", "127.0.0.1:9000"),
        ("[::1]:9000", "[::1]:9000"),
        ("meter.example.org:80", "meter.example.org:80"),
    ],
)
def test_prometheus_and_alertmanager_take_their_files(listen: str | None, target: str) -> None:
    flags = ["--listen", listen] if listen else []
    assert main(["init", "etc/costmeter.yml", "--prometheus", "--alertmanager", *flags]) == 0
    answer = subprocess.run(
        [program("promtool"), "check", "config", "etc/prometheus.yml"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert f"{len(rule_files())} rule files found" in answer.stdout
    answer = amtool("check-config", "etc/alertmanager.yml")
    assert answer.returncode == 0, answer.stderr
    assert "1 templates" in answer.stdout
    written = yaml.safe_load(Path("etc/prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in written["scrape_configs"]}
    assert jobs["costmeter"]["static_configs"] == [{"targets": [target]}]
    for name in ("prometheus.yml", "alertmanager.yml"):
        text = Path("etc", name).read_text()
        assert "deploy/" not in text
        assert "checkout" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "plenty"], "--budget: 'plenty' is not an amount"),
        (["--budget", ""], "--budget: nothing stands here"),
        (["--budget", "0"], "--budget: '0' is not more than 0"),
        (["--tenant", "acme"], "write TENANT=USD"),
        (["--tenant", "=5"], "--tenant: nothing stands here"),
        (["--tenant", "acme=-5"], "is not more than 0"),
        (["--tenant", "a b=1", "--tenant", "a/b=2"], "would be one budget 'a-b'"),
        (["--tenant", "acme=1", "--tenant", "acme=2"], "would be one budget 'acme'"),
        (["--token", "a b"], "--token: 'a b' is not a name"),
        (["--token", "any"], "is a word of costmeter's own"),
        (["--token", "gpu"], "is a word of costmeter's own"),
        (["--token", "a", "--token", "a=b"], "stands twice"),
        (["--token", "a="], "--token: nothing stands here"),
        (["--listen", "localhost"], "is not an address with a port"),
        (["--timezone", "Europe/Berln"], "Did you mean 'Europe/Berlin'?"),
        (["prometheus.yml", "--prometheus"], "choose another FILE"),
        (["/dev/null/costmeter.yml"], "cannot be written"),
        (["."], "cannot be written: it is not a file"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(
    capsys: Capture, arguments: list[str], said: str
) -> None:
    assert main(["init", *arguments]) == 1
    assert said in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_tenants_of_any_name_keep_it() -> None:
    assert (
        main(["init", "--tenant", "Größe & Söhne=1", "--tenant", "null=2", "--tenant", "a=b=3"])
        == 0
    )
    config: Config = load_config(Path("costmeter.yml"), {})
    assert [(b.name, b.tenant_id) for b in config.budgets.items] == [
        ("Gr--e---S-hne", "Größe & Söhne"),
        ("null", "null"),
        ("a-b", "a=b"),
    ]
