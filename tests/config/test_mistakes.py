"""Every mistake is named with file, line and setting, and with what to write instead."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from costmeter.config import ConfigError, load_config

Refuse = Callable[..., list[str]]

ONE_LINE = [
    ("ledgr: {}", "costmeter.yml:1: ledgr: is no setting. Did you mean 'ledger'?"),
    ("ledger:\n  pth: x", "costmeter.yml:2: ledger.pth: is no setting. Did you mean 'path'?"),
    (
        "log: {colour: red}",
        "costmeter.yml:1: log.colour: is no setting. Known here: level, format",
    ),
    (
        "log:\n  level: inf",
        (
            "costmeter.yml:2: log.level: 'inf' is not one of debug, info, warning, error."
            " Did you mean 'info'?"
        ),
    ),
    (
        "ledger: {cell_minutes: 30}",
        "costmeter.yml:1: ledger.cell_minutes: '30' is not 60 or 15; write one of them",
    ),
    (
        "ledger: {open_window_days: true}",
        (
            "costmeter.yml:1: ledger.open_window_days: the truth value true is not a whole number"
            " from 1 to 90; write it in digits"
        ),
    ),
    (
        "ledger: {open_window_days: 7.0}",
        (
            "costmeter.yml:1: ledger.open_window_days: '7.0' is not a whole number from 1 to 90;"
            " write it in digits"
        ),
    ),
    (
        "ledger: {open_window_days: 91}",
        (
            "costmeter.yml:1: ledger.open_window_days: '91' is out of range; write a whole number"
            " from 1 to 90"
        ),
    ),
    (
        "ledger:\n  path: [a]",
        "costmeter.yml:2: ledger.path: a list stands here, not a path; write the path of a file",
    ),
    (
        "ledger:\n  path: {a: b}",
        "costmeter.yml:2: ledger.path: a mapping stands here, not a path; write the path of a file",
    ),
    (
        "ledger:\n  path:",
        (
            "costmeter.yml:2: ledger.path: nothing stands here; write the path of a file,"
            " or remove the line"
        ),
    ),
    (
        "ledger: 12",
        (
            "costmeter.yml:1: ledger: a single value stands here, not a mapping of settings;"
            " write its settings below it, indented, as key: value"
        ),
    ),
    (
        "ledger:\n  extra_labels: team",
        (
            "costmeter.yml:2: ledger.extra_labels: a single value stands here, not a list of"
            " team, feature; write them in brackets, as in [a, b]"
        ),
    ),
    (
        "ledger: {extra_labels: [team, team]}",
        "costmeter.yml:1: ledger.extra_labels[1]: stands twice in this list; remove one",
    ),
    (
        "ledger: {reporting_timezone: Europe/Berln}",
        (
            "costmeter.yml:1: ledger.reporting_timezone: 'Europe/Berln' is not a time zone; write"
            " an IANA name such as UTC or Europe/Berlin. Did you mean 'Europe/Berlin'?"
        ),
    ),
    (
        "jobs: {cleanup_at: 24:00}",
        (
            "costmeter.yml:1: jobs.cleanup_at: '24:00' is not a time of day; write it as HH:MM,"
            " such as 04:00"
        ),
    ),
    (
        "web: {listen_address: localhost}",
        (
            "costmeter.yml:1: web.listen_address: 'localhost' is not an address with a port; write"
            " host:port such as 127.0.0.1:9952, or :9952 for every interface"
        ),
    ),
    (
        "web: {listen_address: 'h:65536'}",
        (
            "costmeter.yml:1: web.listen_address: 'h:65536' is not an address with a port; write"
            " host:port such as 127.0.0.1:9952, or :9952 for every interface"
        ),
    ),
    (
        "series: {promote_share: 1.5}",
        (
            "costmeter.yml:1: series.promote_share: '1.5' is out of range; write a number over 0"
            " and up to 1, such as 0.01"
        ),
    ),
    (
        "series:\n  per_label: {model: 2}\n  admit:\n    model: [a, b, c]",
        (
            "costmeter.yml:4: series.admit.model: 3 values are more than series.per_label.model"
            " lets in (2); raise it or list fewer"
        ),
    ),
    (
        "ingest:\n  max_events: 500\n  queue_events: 499",
        (
            "costmeter.yml:3: ingest.queue_events: 499 has no room for one body of"
            " ingest.max_events (500); write more"
        ),
    ),
    (
        "gpu:\n  segment_seconds: 5\n  sample_seconds: 10",
        (
            "costmeter.yml:2: gpu.segment_seconds: 5 is shorter than gpu.sample_seconds (10);"
            " write more"
        ),
    ),
    (
        "log: {level: info}\nweb: {}\nlog: {level: debug}",
        "costmeter.yml:3: log: stands twice, first in line 1; remove one",
    ),
    (
        "- a\n- b",
        (
            "costmeter.yml:1: a list stands here, not a mapping of settings; write its settings"
            " below it, indented, as key: value"
        ),
    ),
    ("log:\n\tlevel: info", "costmeter.yml:2: a tab indents this line; YAML takes spaces only"),
    ("a: 1\n---\nb: 2", "costmeter.yml:2: a second document begins here; write everything in one"),
    (
        "log: !!python/object:os.system {}",
        "costmeter.yml:1: a tag (!...) stands here; no setting takes one, remove it",
    ),
    (
        "ingest:\n  tokens_file: nowhere.yml",
        (
            "costmeter.yml:2: ingest.tokens_file: there is no file nowhere.yml;"
            " write the path of a file that can be read"
        ),
    ),
    (
        "web: {config_file: .}",
        (
            "costmeter.yml:1: web.config_file: FOLDER is not a file;"
            " write the path of a file that can be read"
        ),
    ),
    (
        "prices:\n  files:\n    - missing.yml",
        (
            "costmeter.yml:3: prices.files[0]: there is no file missing.yml;"
            " write the path of a file that can be read"
        ),
    ),
]


@pytest.mark.parametrize(("text", "expected"), ONE_LINE, ids=[text for text, _ in ONE_LINE])
def test_one_mistake(refuse: Refuse, tmp_path: Path, text: str, expected: str) -> None:
    assert [line.replace(str(tmp_path), "FOLDER") for line in refuse(text)] == [expected]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(refuse: Refuse) -> None:
    text = "log:\n  level: x\nledger:\n  cell_minutes: 1\nweb:\n  listen_address: y\nzzz: 1\n"
    told = refuse(text, environ={"COSTMETER_LOG_FORMAT": "xml"}, flags={"gpu.enabled": "no"})
    assert [line.split(": ")[:2] for line in told] == [
        ["costmeter.yml:2", "log.level"],
        ["costmeter.yml:4", "ledger.cell_minutes"],
        ["costmeter.yml:6", "web.listen_address"],
        ["costmeter.yml:7", "zzz"],
        ["COSTMETER_LOG_FORMAT", "log.format"],
        ["command line", "gpu.enabled"],
    ]


def test_a_yaml_mistake_has_its_line(refuse: Refuse) -> None:
    (told,) = refuse("log:\n  level: info\n  format: [a, b\nweb: {}\n")
    assert told.startswith("costmeter.yml:4: is not YAML here: ")


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "no.yml"
    with pytest.raises(ConfigError, match=r"no\.yml: there is no such file"):
        load_config(missing, {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, {})
    latin = tmp_path / "latin.yml"
    latin.write_bytes("log:\n  level: ä".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yml:2: is not UTF-8 text"):
        load_config(latin, {})
    big = tmp_path / "big.yml"
    big.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="is larger than 4 MiB"):
        load_config(big, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_secret_file_without_permission_is_told(refuse: Refuse, tmp_path: Path) -> None:
    secret = tmp_path / "tokens.yml"
    secret.touch(0o000)
    (told,) = refuse("ingest: {tokens_file: tokens.yml}")
    assert "tokens.yml cannot be read: permission denied" in told


def test_a_problem_has_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "costmeter.yml"
    path.write_text("\n\nlog: {level: x}\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    (problem,) = caught.value.problems
    assert (problem.where, problem.line, problem.key) == (str(path), 3, "log.level")


def test_thousands_of_wrong_keys_are_told(refuse: Refuse) -> None:
    assert len(refuse("".join(f"key_{n}: 1\n" for n in range(3000)))) == 3000
