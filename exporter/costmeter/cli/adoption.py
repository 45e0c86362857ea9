"""The commands that bring costmeter into a place: what they are called and take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

CommandOf = Callable[[str, str], Callable[[argparse.Namespace], int]]


def add_adoption(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], command_of: CommandOf
) -> None:
    """`command_of` makes a command from the names of a module and its function."""

    def add(name: str, text: str, module: str, function: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=text, description=text)
        parser.set_defaults(command=command_of(module, function))
        return parser

    _init(add("init", "write a first configuration", "init", "init"))
    add("config-schema", "print the configuration's JSON Schema", "schema", "config_schema")
    _rules(add("rules", "write the alert and recording rules", "rules", "rules"))
    _dashboards(add("dashboards", "write the Grafana dashboards", "dashboards", "dashboards"))
    shell = add(
        "completion", "print a script for the shell's completion", "completion", "completion"
    )
    shell.add_argument("shell", choices=("bash", "zsh", "fish"))


def _init(init: argparse.ArgumentParser) -> None:
    init.add_argument(
        "file", nargs="?", type=Path, default=Path("costmeter.yml"), metavar="FILE",
        help="the configuration to write (default: costmeter.yml; - for standard output)",
    )  # fmt: skip
    init.add_argument("--budget", metavar="USD", help="monthly budget over the whole ledger")
    init.add_argument(
        "--tenant", action="append", default=[], metavar="TENANT=USD",
        help="monthly budget of a tenant; repeatable",
    )  # fmt: skip
    init.add_argument(
        "--token", action="append", default=[], metavar="NAME[=TENANT]",
        help="make a sender's token and the file of tokens; repeatable",
    )  # fmt: skip
    init.add_argument("--listen", metavar="HOST:PORT", help="where the server listens")
    init.add_argument("--ledger", metavar="FILE", help="the ledger")
    init.add_argument("--timezone", metavar="ZONE", help="where a day and a month begin")
    init.add_argument(
        "--gpu", choices=("auto", "true", "false"), help="whether this machine's GPUs are sampled"
    )
    init.add_argument("--schema", action="store_true", help="also the JSON Schema, for editors")
    init.add_argument(
        "--prometheus", action="store_true", help="also prometheus.yml and the rules it loads"
    )
    init.add_argument(
        "--alertmanager", action="store_true", help="also alertmanager.yml and its template"
    )
    init.add_argument("--force", action="store_true", help="replace files that differ")


def _rules(rules: argparse.ArgumentParser) -> None:
    _shipped(rules, ("files", "prometheusrule", "configmap"))
    rules.add_argument(
        "--runbook-url", default="", metavar="URL", help="where your copy of the runbooks is"
    )
    rules.add_argument(
        "--dashboard-url", default="", metavar="URL", help="a page that every alert links to"
    )


def _dashboards(dashboards: argparse.ArgumentParser) -> None:
    _shipped(dashboards, ("files", "configmap"))
    dashboards.add_argument(
        "--folder", default="", help="Grafana's folder, as an annotation of the ConfigMaps"
    )


def _shipped(parser: argparse.ArgumentParser, formats: tuple[str, ...]) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all)")
    parser.add_argument("--format", choices=formats, default="files")
    parser.add_argument(
        "--output", default="-", metavar="DIR", help="where to write (default: -, standard output)"
    )
    parser.add_argument("--name", default="costmeter", help="how the objects' names begin")
    parser.add_argument("--namespace", default="", help="the objects' namespace")
    parser.add_argument(
        "--label", action="append", default=[], metavar="KEY=VALUE",
        help="a label of the objects; repeatable",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace files that differ")
    parser.add_argument("--list", action="store_true", help="say what there is, write nothing")
    parser.add_argument("--json", action="store_true", help="the list as JSON")
