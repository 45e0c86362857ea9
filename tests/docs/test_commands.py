"""Every command and flag that the documentation names is one that the program has."""

import argparse
import itertools
import re
import shlex
from collections.abc import Iterator

import pytest

from costmeter.cli.parser import build_parser
from costmeter.ledger.history import DIMENSIONS
from docs.pages import PAGES, ROOT, RUNBOOKS

#: After a prompt or at the beginning of a line; `costmeter.yml` and `costmeter: ...` are none.
_COMMAND = re.compile(r"(?:^|(?<!-n)(?<!install)[\s/`(])costmeter ([a-z][^\n|;`]*)")
#: Lines in which the word is the name of a service or of a file.
_OTHERS = ("costmeter: ", "make run", "systemctl", "serve ───")


def code_of(page: str) -> Iterator[str]:
    """The lines of a page's blocks, continued ones joined, and what stands within backticks."""
    inside, prose = False, []
    for line in page.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif inside:
            yield line
        else:
            prose.append(line)
    for inline in re.findall(r"`([^`]+)`", "\n".join(prose)):
        yield inline.replace("\n", " ")


def written() -> Iterator[str]:
    for page in (*PAGES, *RUNBOOKS):
        for line in code_of(page.read_text("utf-8")):
            if not any(other in line for other in _OTHERS):
                yield from (found.strip() for found in _COMMAND.findall(line.split(" #")[0]))
    for rules in (ROOT / "alert_rules").glob("*.rules.yml"):
        for text in re.findall(r"`([^`]+)`", rules.read_text("utf-8")):
            yield from (found.strip() for found in _COMMAND.findall(" ".join(text.split())))


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def problem(command: str) -> str:
    """What is wrong with a written command line; empty when it is right."""
    words = shlex.split(command)
    parser = build_parser()
    while words and (inner := subcommands(parser)):
        if words[0] not in inner:
            return f"there is no command {words[0]!r}"
        parser = inner[words.pop(0)]
    flags = {flag for action in parser._actions for flag in action.option_strings}
    for word in words:
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag not in flags:
            return f"there is no flag {flag}"
    for flag, value in itertools.pairwise(words):
        wrong = [name for name in value.split(",") if name not in DIMENSIONS]
        if flag == "--by" and wrong:
            return f"there is no dimension {wrong[0]!r}"
    return ""


COMMANDS = sorted(set(written()))


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist(command: str) -> None:
    assert problem(command) == ""


def test_a_wrong_command_is_found() -> None:
    assert problem("sevre --read-only") == "there is no command 'sevre'"
    assert problem("serve --readonly") == "there is no flag --readonly"
    assert problem("ledger asof 2026-11-20") == "there is no command 'asof'"
    assert problem("ledger as-of 2026-11-20 --by team") == ""
    assert problem("cost --by model,team_name") == "there is no dimension 'team_name'"


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    table = [line for line in readme.splitlines() if line.startswith("| `costmeter ")]
    named = {
        words.split()[0] for line in table for words in re.findall(r"`costmeter ([^`]+)`", line)
    }
    assert named == set(subcommands(build_parser()))


def test_the_jobs_of_the_help_are_those_of_the_documentation() -> None:
    run = subcommands(build_parser())["run"].format_help()
    table = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("## Jobs")[2]
    documented = re.findall(r"^\| `([a-z-]+)` \|", table.partition("\n## ")[0], re.MULTILINE)
    named = set(re.findall(r"[a-z-]+", run.partition("positional arguments:")[2]))
    missing = [job for job in documented if job not in named and job != "gpu-time"]
    assert documented
    assert missing == []
