"""Commands and flags; no command's module is imported before it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from costmeter import __version__

Command = Callable[[argparse.Namespace], int]


def _command(module: str, name: str) -> Command:
    def run(arguments: argparse.Namespace) -> int:
        found: Command = getattr(import_module(f"costmeter.cli.{module}"), name)
        return found(arguments)

    return run


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="costmeter", description="What your LLM platform costs, as Prometheus metrics."
    )
    parser.add_argument("--version", action="version", version=f"costmeter {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _serve(commands)
    _look(commands)
    _bring_in(commands)
    _keep(commands)
    return parser


Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def _add(
    commands: Commands[argparse.ArgumentParser], name: str, text: str, module: str, function: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=_command(module, function))
    parser.add_argument(
        "--config.file", dest="config_file", type=Path, metavar="FILE", help="the configuration"
    )
    parser.add_argument("--ledger.path", dest="ledger_path", metavar="FILE", help="the ledger")
    return parser


def _serve(commands: Commands[argparse.ArgumentParser]) -> None:
    serve = _add(commands, "serve", "run the exporter", "serve", "serve")
    serve.add_argument("--read-only", action="store_true", help="show a ledger another one writes")
    serve.add_argument("--web.listen-address", dest="listen_address", metavar="HOST:PORT")
    serve.add_argument("--web.config.file", dest="web_config_file", metavar="FILE")
    serve.add_argument("--log.level", dest="log_level", metavar="LEVEL")
    serve.add_argument("--log.format", dest="log_format", metavar="FORMAT")
    check = _add(
        commands, "check-config", "read the configuration and say what is wrong", "check", "check"
    )
    check.add_argument("file", nargs="?", type=Path, help="the configuration to check")
    commands.add_parser(
        "token", help="make a token and the entry for the file of tokens"
    ).set_defaults(command=_command("check", "token"))


def _look(commands: Commands[argparse.ArgumentParser]) -> None:
    cost = _add(commands, "cost", "show spend from the ledger", "cost", "cost")
    cost.add_argument("--by", default="model", help="dimensions, with commas (default: model)")
    cost.add_argument("--since", default="24h", help="24h, 7d, 2026-11-01 or an instant")
    cost.add_argument("--until", default="", help="the same; default: now")
    cost.add_argument(
        "--where", action="append", default=[], metavar="DIM=VALUE", help="only this; repeatable"
    )
    cost.add_argument("--json", action="store_true")
    ledger = commands.add_parser("ledger", help="questions to the journal")
    inner = ledger.add_subparsers(required=True, metavar="QUESTION")
    as_of = _add(inner, "as-of", "spend as it was believed at the end of a day", "cost", "as_of")
    as_of.add_argument("date", help="the day, such as 2026-11-20 (UTC)")
    as_of.add_argument("--by", default="model")
    as_of.add_argument("--since", default="", help="usage from here on (default: everything)")
    as_of.add_argument("--json", action="store_true")
    verify = _add(
        commands, "verify", "recompute every total and say what differs", "keep", "verify_ledger"
    )
    verify.add_argument("--json", action="store_true")


def _trace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="CSV with a header, or NDJSON of usage events")
    parser.add_argument(
        "--columns",
        default="",
        metavar="FIELD=COLUMN,...",
        help="which column holds a field: timestamp=time,input=prompt_tokens,output=...",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="the same for every row"
    )


def _bring_in(commands: Commands[argparse.ArgumentParser]) -> None:
    replay = _add(commands, "replay", "play a trace into a running exporter", "replay", "replay")
    _trace(replay)
    replay.add_argument("--url", default="http://127.0.0.1:9952", help="the exporter")
    replay.add_argument("--token-file", type=Path, help="file with the bearer token")
    replay.add_argument(
        "--speed", default="max", help="times faster than it was recorded, or max (default)"
    )
    replay.add_argument("--batch", type=int, default=500, help="events in a request")
    bring = _add(
        commands,
        "import",
        "take old usage as history: in gauges, not counters",
        "bring",
        "bring_in",
    )
    _trace(bring)
    bring.add_argument("--compare", default="", metavar="COLUMN", help="a column of USD to compare")
    bring.add_argument("--dry-run", action="store_true", help="price and compare, book nothing")
    bring.add_argument("--json", action="store_true")


def _keep(commands: Commands[argparse.ArgumentParser]) -> None:
    backup = _add(commands, "backup", "copy the ledger while it is in use", "keep", "backup")
    backup.add_argument("target", type=Path)
    restore = _add(
        commands, "restore", "put a backup in place; counters begin anew", "keep", "restore_backup"
    )
    restore.add_argument("backup", type=Path)
    run = _add(commands, "run", "run a regular job now", "keep", "run_job")
    run.add_argument("job", help="release-clock, budgets, repricing, series or clean-up")
    run.add_argument("--timeout", type=float, default=60, help="seconds to wait for the exporter")
