"""What holds for every command: no traceback, three exit codes, examples, JSON."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from costmeter.cli import main
from costmeter.cli.examples import EXAMPLES
from costmeter.cli.levels import Level, levels_of
from costmeter.cli.parser import build_parser

Capture = pytest.CaptureFixture[str]

LEVELS = {level.path: level for level in levels_of(build_parser())}
COMMANDS = {path: level for path, level in LEVELS.items() if not level.commands}
#: These run until they are stopped; they are asked as programs of their own.
LASTING = {("serve",), ("demo",), ("agent",)}
#: Commands whose answer is a table or a list that somebody may want to compute with.
TELLING = {
    ("cost",), ("ledger", "as-of"), ("verify",), ("import",), ("rules",), ("dashboards",),
}  # fmt: skip

EVENT = (
    '{"request_id": "a", "timestamp": "2026-01-05T10:00:00Z", "provider": "openai",'
    ' "model": "gpt-4o-mini", "team": "search", "tokens": {"input": 1000000}}\n'
)
#: Words that no command expects where they stand.
WORDS = [
    "", " ", "-1", "0", "nan", "inf", "1e999", "9" * 40, "9" * 5000, "99999999999d", "ü🙂",
    "\udcff", "a=b", "=", "=x", "a=\udcff", "a\nb", "%s{}", "0001-01-01T00:00:00+23:59", "%%",
    "9999-12-31T23:59:59-23:59", "x" * 5000,
    "missing/file", "folder", "garbage", "garbage.ndjson", "empty", "empty.csv", "deep.ndjson",
]  # fmt: skip
FOR_FLAGS = ["", "-1", "9" * 40, "a=\udcff", "missing/file", "garbage"]
#: Contents of a trace or a list of prices that are not quite one.
CONTENTS = {
    "garbage": bytes(range(256)) * 4,
    "garbage.ndjson": bytes(range(256)),
    "empty": b"",
    "empty.csv": b"",
    "deep.ndjson": b"[" * 100_000 + b"\n",
}
LINES = [
    "[1]", "1", "null", '"a"', "{}", '{"timestamp": null}', '{"timestamp": "x"}',
    EVENT.replace("2026-01-05T10:00:00Z", "0001-01-01T00:00:00+10:00"),
    EVENT.replace("2026-01-05T10:00:00Z", "9999-12-31T23:59:59-10:00"),
    EVENT.replace("1000000", "NaN"), EVENT.replace("1000000", "1e999"),
    EVENT.replace("1000000", "9" * 30), EVENT.replace("1000000", "-1"),
    EVENT.replace("search", "\\ud800"), EVENT.replace("search", "x" * 100_000),
    EVENT.replace('"search"', "[[]]"), EVENT.replace('"a"', '{"a": 1}'),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with one event, and files that are none of what is expected."""
    made = tmp_path_factory.mktemp("template")
    (made / "old.ndjson").write_text(EVENT)
    (made / "folder").mkdir()
    for name, content in CONTENTS.items():
        (made / name).write_bytes(content)
    assert main(["import", str(made / "old.ndjson"), "--ledger.path", str(made / "l.db")]) == 0
    return made


@pytest.fixture
def place(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, as the working directory."""
    here = tmp_path / "here"
    shutil.copytree(folder, here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("COSTMETER_LEDGER_PATH", "l.db")
    return here


def ends_well(arguments: list[str], capsys: Capture) -> int:
    """The exit code; anything but 0, 1 and 2, or an exception, fails the test."""
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    captured = capsys.readouterr()
    assert code in {0, 1, 2}, arguments
    assert "Traceback" not in captured.err + captured.out, arguments
    assert code == 0 or captured.err or captured.out, f"{arguments} failed without a word"
    return code


def parser_of(path: tuple[str, ...]) -> argparse.ArgumentParser:
    parser = build_parser()
    for name in path:
        (inner,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = inner.choices[name]
    return parser


def hostile_lines(path: tuple[str, ...]) -> Iterator[list[str]]:
    """Each word as every argument there has to be, and some as each flag's value."""
    actions = parser_of(path)._actions
    for word in WORDS:
        base = list(path)
        for action in actions:
            if action.required or (not action.option_strings and action.nargs != 0):
                base += action.option_strings[:1]
                base.append(next(iter(action.choices)) if action.choices else word)
        yield base
        for action in actions if word in FOR_FLAGS else ():
            if action.option_strings and action.nargs != 0 and not action.required:
                yield [*base, f"{action.option_strings[-1]}={word}"]


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(set(COMMANDS) - LASTING), ids=" ".join)
def test_hostile_arguments_end_in_words(
    path: tuple[str, ...], place: Path, capsys: Capture
) -> None:
    lines = list(hostile_lines(path))
    assert len(lines) >= len(WORDS)
    for line in lines:
        ends_well(line, capsys)


@pytest.mark.parametrize("path", sorted(COMMANDS), ids=" ".join)
def test_unknown_flags_are_wrong_usage(path: tuple[str, ...], place: Path, capsys: Capture) -> None:
    assert ends_well([*path, "--no-such-flag"], capsys) == 2


def test_a_missing_or_unknown_command_is_wrong_usage(capsys: Capture) -> None:
    assert ends_well([], capsys) == 2
    assert ends_well(["nonsense"], capsys) == 2
    for path, level in LEVELS.items():
        if level.commands:
            assert ends_well([*path], capsys) == 2


@pytest.mark.parametrize("command", ["import", "replay"])
@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_lines_that_are_no_events(command: str, line: str, place: Path, capsys: Capture) -> None:
    (place / "trace.ndjson").write_text(f"{line}\n")
    arguments = [command, "trace.ndjson"]
    if command == "replay":
        arguments += ["--url", "nowhere"]
    assert ends_well(arguments, capsys) == 1


def test_a_token_file_is_never_quoted(place: Path, capsys: Capture) -> None:
    (place / "token").write_text("cm_secret 1\ncm_secret 2\n")
    for name in ("token", "garbage", "folder", "empty", "missing"):
        line = ["replay", "old.ndjson", "--token-file", name, "--url", "http://127.0.0.1:1"]
        assert main(line) == 1
        error = capsys.readouterr().err
        assert name in error
        assert "secret" not in error


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--config.file", "missing.yml"],
        ["serve", "--config.file", "folder"],
        ["serve", "--config.file", "garbage"],
        ["serve", "--ledger.path", "folder"],
        ["serve", "--ledger.path", "garbage"],
        ["serve", "--ledger.path", "garbage", "--read-only"],
        ["serve", "--ledger.path", "missing.db", "--read-only"],
        ["serve", "--web.config.file", "garbage"],
        ["serve", "--log.level", "loud"],
        # An address that documentation alone uses: nobody can listen there.
        ["serve", "--web.listen-address", "192.0.2.1:9952"],
        ["demo", "--trace-only", "folder"],
        ["demo", "--trace-only", "missing/x.ndjson"],
    ],
    ids=" ".join,
)
def test_lasting_commands_say_why_they_do_not_start(arguments: list[str], place: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "costmeter", *arguments],
        capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert answer.returncode in {1, 2}, answer.stderr
    assert answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["serve", "--help"],
        ["cost"],
        ["cost", "--json"],
        ["verify"],
        ["token"],
        ["config-schema"],
        ["rules"],
        ["completion", "bash"],
        ["init", "-"],
    ],
    ids=" ".join,
)
def test_a_reader_that_left_is_no_trouble(arguments: list[str], place: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "costmeter", *arguments],
            stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_a_full_disk_is_told(place: Path) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        answer = subprocess.run(
            [sys.executable, "-m", "costmeter", "config-schema"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
    assert answer.returncode == 1
    assert answer.stderr == "costmeter: No space left on device\n"


def test_only_files_are_written_over(place: Path, capsys: Capture) -> None:
    os.mkfifo("pipe")
    assert main(["init", "pipe", "--force"]) == 1
    assert "pipe cannot be written: it is not a file" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everywhere")
def test_missing_permissions_are_told(place: Path, capsys: Capture) -> None:
    (place / "shut").mkdir(0o000)
    (place / "shut.yml").touch(0o000)
    for line in (
        ["init", "shut/costmeter.yml"],
        ["rules", "--output", "shut"],
        ["check-config", "shut.yml"],
        ["import", "shut.yml", "--columns", "timestamp=a"],
        ["cost", "--ledger.path", "shut/l.db"],
    ):
        assert ends_well(line, capsys) in {1, 2}


@pytest.mark.parametrize("path", sorted(COMMANDS), ids=" ".join)
def test_every_help_has_an_example_that_parses(path: tuple[str, ...], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*path, "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    words = " ".join(("costmeter", *path))
    examples = [line.strip() for line in shown.splitlines() if words in line]
    assert len(examples) > 1, "no example below the usage"
    for line in EXAMPLES.get(" ".join(path), ()):
        assert line in examples


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_parse(line: str) -> None:
    command = re.sub(r" [|>] .*|\)\"?$", "", line.split("costmeter ", 1)[1])
    words = shlex.split(command)
    build_parser().parse_args(words)


def test_examples_are_of_commands_there_are() -> None:
    assert {tuple(name.split()) for name in EXAMPLES} <= set(LEVELS)


@pytest.mark.parametrize("path", sorted(TELLING), ids=" ".join)
def test_what_is_told_can_be_had_as_json(path: tuple[str, ...]) -> None:
    level: Level = LEVELS[path]
    assert "--json" in {name for flag in level.flags for name in flag.names}
