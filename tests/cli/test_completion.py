"""Completion, asked of the real shells: what stands in the line after the tabulator."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from costmeter.cli import main
from costmeter.cli.levels import Level, levels_of
from costmeter.cli.parser import build_parser

#: What is typed, and what the tabulator makes of it.
TYPED = [
    ("costmeter check", "costmeter check-config"),
    ("costmeter ledger as", "costmeter ledger as-of"),
    ("costmeter rules --form", "costmeter rules --format"),
    ("costmeter rules --format prom", "costmeter rules --format prometheusrule"),
    ("costmeter rules --format=prom", "costmeter rules --format=prometheusrule"),
    ("costmeter rules --output out --name x --format confi", " --format configmap"),
    ("costmeter ledger as-of 2026-11-20 --js", "costmeter ledger as-of 2026-11-20 --json"),
    ("costmeter cost --config.f", "costmeter cost --config.file"),
    ("costmeter cost --config.file exam", "costmeter cost --config.file example.yml"),
    ("costmeter check-config exam", "costmeter check-config example.yml"),
    ("costmeter check-config folder/in", "costmeter check-config folder/inside.yml"),
    ("costmeter completion fi", "costmeter completion fish"),
    ("costmeter --vers", "costmeter --version"),
    ("costmeter cost --token-f", "costmeter cost --token-f"),
    ("costmeter cost exam", "costmeter cost exam"),
    ("costmeter nonsens", "costmeter nonsens"),
]


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a script for each shell, and something to complete."""
    for shell in ("bash", "zsh", "fish"):
        capsys.readouterr()
        assert main(["completion", shell]) == 0
        (tmp_path / f"c.{shell}").write_text(capsys.readouterr().out)
    (tmp_path / "example.yml").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside.yml").touch()
    return tmp_path


def shell_path(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install --no-install-recommends {name}")
    return path


class Terminal:
    """A shell at a terminal. Ends with it."""

    def __init__(self, command: list[str], folder: Path) -> None:
        environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(folder), "PS1": "$ "}
        self._master, slave = pty.openpty()
        # So wide that the shell never breaks a line while it is edited.
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 500, 0, 0))
        self._process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self._seen = ""

    def say(self, text: str, *, until: str) -> str:
        """Type a text; what the shell answers, up to a pattern in it."""
        os.write(self._master, text.encode())
        end = time.monotonic() + 20
        while not (found := re.search(until, self._seen)):
            ready, _, _ = select.select([self._master], [], [], max(0, end - time.monotonic()))
            assert ready, f"no {until!r} in {self._seen!r}"
            self._seen += os.read(self._master, 65536).decode(errors="replace")
        answer, self._seen = self._seen[: found.end()], self._seen[found.end() :]
        return answer

    def completed(self, typed: str) -> str:
        """The line after the tabulator: the shell itself prints it, quoted with <>."""
        # ^A goes to the line's beginning and ^E to its end.
        said = self.say(f"{typed}\t\x01printf '<%s>\\n' '\x05'\n", until=r"\n<(?!%s)[^>]*>")
        return said.rpartition("<")[2].rstrip("> ")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@pytest.fixture
def bash(script: Path) -> Iterator[Terminal]:
    terminal = Terminal([shell_path("bash"), "--norc", "--noprofile", "-i"], script)
    terminal.say("source ./c.bash; echo rea''dy\n", until="ready\r?\n")
    yield terminal
    terminal.close()


@pytest.fixture
def zsh(script: Path) -> Iterator[Terminal]:
    terminal = Terminal([shell_path("zsh"), "-f", "-i"], script)
    # The line editor of zsh is not up before its first prompt.
    terminal.say(
        "bindkey -e; unsetopt prompt_cr prompt_sp auto_menu list_beep bang_hist; "
        "autoload -U compinit; compinit -u -D; source ./c.zsh; echo rea''dy\n",
        until="ready\r?\n",
    )
    yield terminal
    terminal.close()


def test_bash_completes(bash: Terminal) -> None:
    for typed, expected in TYPED:
        assert bash.completed(typed).endswith(expected), typed


def test_zsh_completes(zsh: Terminal) -> None:
    for typed, expected in TYPED:
        assert zsh.completed(typed).endswith(expected), typed


def test_fish_completes(script: Path) -> None:
    fish = shell_path("fish")
    asked = "".join(f"echo '?'; complete -C'{typed}';" for typed, _ in TYPED)
    answer = subprocess.run(
        [fish, "--no-config", "-c", f"source ./c.fish; {asked}"],
        cwd=script, capture_output=True, text=True, timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(script)},
    )  # fmt: skip
    assert answer.stderr == ""
    blocks = answer.stdout.split("?\n")[1:]
    for (typed, expected), block in zip(TYPED, blocks, strict=True):
        offered = [line.partition("\t")[0] for line in block.splitlines()]
        word = expected.rpartition(" ")[2]
        assert offered == ([] if expected == typed else [word]), typed


def offered_by_bash(script: Path, lines: list[list[str]]) -> list[set[str]]:
    """What bash's function offers for words whose last one is being typed."""
    ask = "".join(
        f"COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; _costmeter; "
        'echo "${COMPREPLY[*]}"\n'
        for words in lines
    )
    answer = subprocess.run(
        [shell_path("bash"), "--norc", "-c", f"source ./c.bash\n{ask}"],
        cwd=script, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stderr == ""
    return [set(line.split()) for line in answer.stdout.splitlines()]


def test_every_command_and_flag_is_offered(script: Path) -> None:
    levels = list(levels_of(build_parser()))
    asked = [["costmeter", *level.path, mark] for level in levels for mark in ("", "--")]
    offered = iter(offered_by_bash(script, asked))
    for level in levels:
        words = {name for name, _ in level.commands} | set(level.words)
        files = {"c.bash", "c.fish", "c.zsh", "example.yml", "folder"} if level.files else set()
        assert next(offered) == words | files, level.path
        flags = {name for flag in level.flags for name in flag.names}
        assert next(offered) == {name for name in flags if name.startswith("--")}, level.path


def test_the_levels_are_the_parsers() -> None:
    levels = {level.path: level for level in levels_of(build_parser())}
    assert {"serve", "cost", "rules", "completion"} <= {name for name, _ in levels[()].commands}
    assert all(
        (*path, name) in levels for path, level in levels.items() for name, _ in level.commands
    )
    rules: Level = levels["rules",]
    by_name = {name: flag for flag in rules.flags for name in flag.names}
    assert by_name["--format"].words == ("files", "prometheusrule", "configmap")
    assert by_name["--output"].files
    assert not by_name["--json"].takes_value
    assert all(about for _, about in levels[()].commands)


def test_quotes_in_help_texts_do_no_harm(tmp_path: Path) -> None:
    import argparse

    from costmeter.cli import shells

    parser = argparse.ArgumentParser(prog="costmeter")
    inner = parser.add_subparsers()
    odd = inner.add_parser("odd", help="it's `odd` $(touch ran) 100 %% \\ a:b\nc")
    odd.add_argument("--it", choices=("a", "b"), help='it\'s "odd" $(touch ran) \\')
    levels = list(levels_of(parser))
    for name, make in (("bash", shells.bash), ("zsh", shells.zsh), ("fish", shells.fish)):
        path = shutil.which(name)
        if path is None:
            continue
        (tmp_path / "odd").write_text(make(levels))
        load = "autoload -U compinit; compinit -D -u; " if name == "zsh" else ""
        answer = subprocess.run(
            [path, "-c", f"{load}source ./odd && echo fine"],
            cwd=tmp_path, capture_output=True, text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )  # fmt: skip
        assert (answer.stdout, answer.stderr) == ("fine\n", ""), name
        assert not (tmp_path / "ran").exists()
