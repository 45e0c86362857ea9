"""Precedence: flag, then environment, then file, then default."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from costmeter.config import Config, ConfigError, load_config
from costmeter.config.records import leaves

Load = Callable[..., Config]
Refuse = Callable[..., list[str]]

#: A text for every setting of one value that differs from its default.
OTHER = {
    "ledger.path": "elsewhere.db",
    "ledger.reporting_timezone": "Europe/Berlin",
    "ledger.cell_minutes": "15",
    "web.listen_address": "[::1]:8080",
    "budgets.monthly_usd": "1234.56",
    "gpu.enabled": "false",
    "gpu.purchase": "spot",
    "jobs.cleanup_at": "05:30",
    "jobs.release_clock_seconds": "3",
    "jobs.timezone": "Asia/Tokyo",
    "log.level": "debug",
    "log.format": "json",
    "series.promote_share": "0.125",
    "ingest.max_body_bytes": "2048",
    "ingest.max_events": "9",
    "ingest.queue_events": "20000",
    "gpu.segment_seconds": "30",
    "gpu.owners": "processes",
    "gpu.kubernetes.api_server": "https://10.0.0.1:6443",
    "gpu.serving_seconds": "30",
    "anomalies.enabled": "false",
    "anomalies.sensitivity": "3",
    "anomalies.timeout_seconds": "30",
    "gpu.serving_window_seconds": "7200",
    "gpu.kubernetes.namespace_is_tenant": "false",
    "gpu.kubernetes.serving": "false",
    "alertmanager.url": "http://127.0.0.1:9093",
    "alertmanager.resend_seconds": "90",
    "forecast.enabled": "false",
    "forecast.at": "03:30",
    "forecast.timeout_seconds": "60",
    "forecast.deep": "true",
}


def test_every_setting_of_one_value_comes_from_its_variable_and_its_key(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.touch(0o600)
    default = load_config(None, {})
    for leaf in leaves(Config):
        if not leaf.setting.kind.scalar:
            continue
        text = OTHER.get(leaf.key) or (str(file) if leaf.key.endswith("_file") else "2")
        by_variable = load_config(None, {leaf.variable: text})
        by_flag = load_config(None, {}, {leaf.key: text})
        assert by_variable == by_flag != default, leaf.key
        value: object = by_variable
        for name in leaf.path:
            value = getattr(value, name)
        assert leaf.setting.kind.show(value).strip('"') == text, leaf.key


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(load: Load) -> None:
    text = "log: {level: warning, format: json}\ngpu: {region: here}"
    environ = {"COSTMETER_LOG_LEVEL": "error", "COSTMETER_GPU_REGION": "there"}
    loaded = load(text, environ, {"log.level": "debug"})
    assert loaded.log.level == "debug"
    assert loaded.gpu.region == "there"
    assert loaded.log.format == "json"
    assert loaded.gpu.provider == "onprem"


def test_an_empty_variable_is_not_set(load: Load) -> None:
    assert load("log: {level: error}", {"COSTMETER_LOG_LEVEL": ""}).log.level == "error"
    assert load("", {"COSTMETER_LEDGER_EXTRA_LABELS": "", "COSTMETER_LOG_X": ""}) == load("")


def test_an_empty_flag_unsets_a_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "web.yml").touch()
    text = "web: {config_file: web.yml}"
    assert load(text).web.config_file == tmp_path / "web.yml"
    assert load(text, {}, {"web.config_file": ""}).web.config_file is None


def test_relative_files_of_a_variable_are_meant_from_the_working_directory() -> None:
    with pytest.raises(
        ConfigError, match=r"COSTMETER_INGEST_TOKENS_FILE: ingest.tokens_file: ther"
    ):
        load_config(None, {"COSTMETER_INGEST_TOKENS_FILE": "nowhere/tokens.yml"})


def test_a_wrong_variable_is_named(refuse: Refuse) -> None:
    environ = {"COSTMETER_LEDGER_CELL_MINUTES": "20"}
    assert refuse("ledger: {cell_minutes: 15}", environ=environ) == [
        (
            "COSTMETER_LEDGER_CELL_MINUTES: ledger.cell_minutes: '20' is not 60 or 15;"
            " write one of them"
        )
    ]


def test_a_mistake_between_two_sources_is_told_where_it_was_made(refuse: Refuse) -> None:
    told = refuse("ingest: {max_events: 10}", environ={"COSTMETER_INGEST_QUEUE_EVENTS": "5"})
    assert [line.split(": ")[0] for line in told] == ["COSTMETER_INGEST_QUEUE_EVENTS"]


def test_an_unknown_variable_of_a_section_is_told(refuse: Refuse) -> None:
    assert refuse("", environ={"COSTMETER_LEDGER_PTH": "x"}) == [
        (
            "COSTMETER_LEDGER_PTH: is set, but there is no such setting."
            " Did you mean 'COSTMETER_LEDGER_PATH'?"
        )
    ]
    assert refuse("", environ={"COSTMETER_LEDGER_EXTRA_LABELS": "team"}) == [
        "COSTMETER_LEDGER_EXTRA_LABELS: is set, but a list can only be written in the file"
    ]


def test_what_others_put_into_the_environment_is_left_alone() -> None:
    environ = {
        "COSTMETER_SERVICE_HOST": "10.0.0.1",
        "COSTMETER_PORT_9952_TCP": "tcp://10.0.0.1:9952",
        "COSTMETER_WEB_SERVICE_HOST": "10.0.0.2",
        "COSTMETER_WEB_SERVICE_PORT_HTTP": "80",
        "COSTMETER_WEB_PORT": "tcp://10.0.0.2:80",
        "COSTMETER_WEB_PORT_80_TCP_ADDR": "10.0.0.2",
        "COSTMETER_DATA": "/data",
        "LEDGER_PATH": "x",
        "PATH": "/bin",
    }
    assert load_config(None, environ) == load_config(None, {})


def test_an_unknown_flag_key_is_told(refuse: Refuse) -> None:
    assert refuse("", flags={"log.levl": "info"}) == [
        "command line: log.levl: is no setting of one value. Did you mean 'log.level'?"
    ]
    assert refuse("", flags={"web.listen_address": "x"})[0].startswith("--web.listen-address: web.")


def test_exact_values_from_the_environment() -> None:
    environ = {
        "COSTMETER_BUDGETS_MONTHLY_USD": "0.000000001",
        "COSTMETER_SERIES_PROMOTE_SHARE": "0.1",
    }
    loaded = load_config(None, environ)
    assert loaded.budgets.monthly_nano == 1
    assert loaded.series.promote_share == Decimal("0.1")
