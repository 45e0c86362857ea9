"""Commands and flags; no command's module is imported before it runs."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from costmeter import __version__
from costmeter.cli.examples import with_examples

Command = Callable[[argparse.Namespace], int]


def _command(module: str, name: str) -> Command:
    def run(arguments: argparse.Namespace) -> int:
        # What an import makes is no garbage; looking for some takes a tenth of its time, and
        # a part of what comes after it.
        gc.disable()
        try:
            found: Command = getattr(import_module(f"costmeter.cli.{module}"), name)
        finally:
            gc.freeze()
            gc.enable()
        return found(arguments)

    return run


class _Parser(argparse.ArgumentParser):
    """Says after a mistake where the commands and flags are listed."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\n'{self.prog} --help' lists what there is\n")


def build_parser(word: str = "") -> argparse.ArgumentParser:
    """The parser of all commands, or of one alone that has to start quickly."""
    parser: argparse.ArgumentParser = _Parser(
        prog="costmeter", description="What your LLM platform costs, as Prometheus metrics."
    )
    parser.add_argument("--version", action="version", version=f"costmeter {__version__}")
    commands: Commands[argparse.ArgumentParser] = parser.add_subparsers(
        required=True, metavar="COMMAND"
    )
    if word in _QUICK:
        _QUICK[word](commands)
        return with_examples(parser)
    for quick in _QUICK.values():
        quick(commands)
    _check(commands)
    _demo(commands)
    _look(commands)
    _bring_in(commands)
    _keep(commands)
    _questions(commands)
    _adopt(commands)
    _settle(commands)
    _reprice(commands)
    _past(commands)
    _bills(commands)
    _budget(commands)
    _ahead(commands)
    return with_examples(parser)


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


def _agent(commands: Commands[argparse.ArgumentParser]) -> None:
    about = "run the agent of a GPU node"
    agent = commands.add_parser("agent", help=about, description=about)
    agent.set_defaults(command=_command("agent", "agent"))
    agent.add_argument(
        "--config.file", dest="config_file", type=Path, metavar="FILE", help="the configuration"
    )
    agent.add_argument("--web.listen-address", dest="listen_address", metavar="HOST:PORT")
    agent.add_argument("--web.config.file", dest="web_config_file", metavar="FILE")
    agent.add_argument("--log.level", dest="log_level", metavar="LEVEL")
    agent.add_argument("--log.format", dest="log_format", metavar="FORMAT")


_QUICK = {"serve": _serve, "agent": _agent}


def _check(commands: Commands[argparse.ArgumentParser]) -> None:
    check = _add(
        commands, "check-config", "read the configuration and say what is wrong", "check", "check"
    )
    check.add_argument("file", nargs="?", type=Path, help="the configuration to check")
    commands.add_parser(
        "token", help="make a token and the entry for the file of tokens"
    ).set_defaults(command=_command("check", "token"))


def _demo(commands: Commands[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser(
        "demo",
        help="show it all: a platform of four tenants, a budget that is crossed, a page",
        description="Start the exporter, Prometheus and Alertmanager on loopback, in a temporary "
        "folder, with three days of calls; an agent runs away with a budget, and the page "
        "arrives in this terminal. Ctrl-C ends it and leaves nothing behind.",
    )
    demo.set_defaults(command=_command("demo", "demo"))
    demo.add_argument("--port", type=int, help="the exporter's port (default: a free one)")
    demo.add_argument("--duration", type=float, metavar="SECONDS", help="end after so long")
    demo.add_argument("--keep", action="store_true", help="keep the folder")
    demo.add_argument("--quiet", action="store_true", help="only the pages, and what is missing")
    demo.add_argument(
        "--trace-only", type=Path, metavar="FILE", help="only write the calls, as NDJSON"
    )


def _look(commands: Commands[argparse.ArgumentParser]) -> None:
    cost = _add(commands, "cost", "show spend from the ledger", "cost", "cost")
    cost.add_argument("--by", default="model", help="dimensions, with commas (default: model)")
    cost.add_argument(
        "--since",
        default="24h",
        help="24h, 7d, 2026-11-01 or an instant; from the beginning of its hour on",
    )
    cost.add_argument("--until", default="", help="the same; default: now")
    cost.add_argument(
        "--where", action="append", default=[], metavar="DIM=VALUE", help="only this; repeatable"
    )
    cost.add_argument(
        "--basis",
        default="",
        choices=("list", "contracted", "effective", "billed", "all"),
        help="at list prices, at your contracts', after settlement, as billed, or all of them",
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


def _questions(commands: Commands[argparse.ArgumentParser]) -> None:
    from costmeter.cli.questions import add_questions

    add_questions(commands, _add)


def _keep(commands: Commands[argparse.ArgumentParser]) -> None:
    backup = _add(commands, "backup", "copy the ledger while it is in use", "keep", "backup")
    backup.add_argument("target", type=Path)
    restore = _add(
        commands, "restore", "put a backup in place; counters begin anew", "keep", "restore_backup"
    )
    restore.add_argument("backup", type=Path)
    run = _add(commands, "run", "run a regular job now", "keep", "run_job")
    run.add_argument(
        "job",
        help="release-clock, budgets, repricing, commitments, settlement, series, clean-up, "
        "gpu-time, checkpoint, restate-fixed-costs, fixed-costs, erase-user, currencies, "
        "overlap, forecast, anomalies, plausibility, serving, or source:NAME",
    )
    run.add_argument("--timeout", type=float, default=60, help="seconds to wait for the exporter")


def _adopt(commands: Commands[argparse.ArgumentParser]) -> None:
    from costmeter.cli.adoption import add_adoption

    add_adoption(commands, _command)


def _settle(commands: Commands[argparse.ArgumentParser]) -> None:
    settle = _add(commands, "settle", "how bills became postings", "settle", "settle")
    settle.add_argument(
        "--explain", nargs=2, metavar=("SCOPE", "DAY"), help="one day of a scope, line by line"
    )
    settle.add_argument("--since", default="35d", help="days to list: 35d or 2026-11-01")
    settle.add_argument("--json", action="store_true")


def _past(commands: Commands[argparse.ArgumentParser]) -> None:
    fill = _add(commands, "backfill", "write the past for Prometheus", "backfill", "backfill")
    _span(fill, "the current hour")
    fill.add_argument("--by", default="hour", choices=("hour", "day"), help="default: hour")
    fill.add_argument(
        "--output",
        default="-",
        metavar="FILE",
        help="a file, or DIR/ for one file a block (default: -, standard output)",
    )
    fill.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the target (job=costmeter, instance=the listen address); repeatable",
    )
    fill.add_argument("--raw", action="store_true", help="without what the rules record")
    fill.add_argument("--force", action="store_true", help="replace files that are there")
    export = commands.add_parser("export", help="write charges for other tools")
    inner = export.add_subparsers(required=True, metavar="FORMAT")
    focus = _add(inner, "focus", "charges by day in FOCUS's columns", "export", "focus")
    _span(focus, "the end of today")
    focus.add_argument("--version", default="1.2", choices=("1.2", "1.4"), help="of FOCUS (1.2)")
    focus.add_argument(
        "--output",
        default="-",
        metavar="FILE",
        help="FILE.csv or FILE.parquet (default: -, CSV on standard output)",
    )
    focus.add_argument("--force", action="store_true", help="replace a file that is there")


def _bills(commands: Commands[argparse.ArgumentParser]) -> None:
    bills = commands.add_parser("bills", help="look into files of bills")
    inner = bills.add_subparsers(required=True, metavar="ACTION")
    check = _add(inner, "check", "totals of a file, and the rows not read", "bills", "check")
    check.add_argument("files", nargs="+", metavar="FILE", help="CSV or Parquet, also .gz and .zip")
    check.add_argument(
        "--kind",
        default="",
        choices=("focus", "cur", "azure_ea"),
        help="what it is (default: told by its columns)",
    )
    check.add_argument("--json", action="store_true")


def _budget(commands: Commands[argparse.ArgumentParser]) -> None:
    budget = commands.add_parser("budget", help="where budgets stand, and what they crossed")
    inner = budget.add_subparsers(required=True, metavar="QUESTION")
    status = _add(inner, "status", "where budgets stand and where they head", "budget", "status")
    status.add_argument("name", nargs="?", default="", help="one budget, with all that is known")
    status.add_argument("--tenant", default="", help="only this tenant's")
    status.add_argument(
        "--level", default="", help="only these levels, with commas: warning,critical,exceeded"
    )
    status.add_argument("--json", action="store_true")
    history = _add(inner, "history", "which amounts budgets crossed, newest first", "budget",
                   "history")  # fmt: skip
    history.add_argument("name", nargs="?", default="", help="one budget (default: all)")
    history.add_argument("--since", default="", help="24h, 7d, 2026-11-01 or an instant")
    history.add_argument("--open", action="store_true", help="only what nobody acknowledged")
    history.add_argument(
        "--periods", action="store_true", help="the budget's past periods instead of alerts"
    )
    history.add_argument("--json", action="store_true")
    seen = _add(inner, "acknowledge", "note that somebody has seen an alert", "budget",
                "acknowledge")  # fmt: skip
    seen.add_argument("alert", type=int, help="its number in 'costmeter budget history'")
    seen.add_argument("--who", default="", help="who has seen it (default: the user's name)")
    seen.add_argument("--note", default="", help="what is done about it")


def _ahead(commands: Commands[argparse.ArgumentParser]) -> None:
    from costmeter.cli.foresight import add_anomalies, add_foresight

    add_foresight(commands, _add)
    add_anomalies(commands, _add)


def _span(parser: argparse.ArgumentParser, until: str) -> None:
    parser.add_argument(
        "--since", default="", help="7d, 2026-11-01 or an instant (default: everything)"
    )
    parser.add_argument("--until", default="", help=f"the same; default: {until}")


def _reprice(commands: Commands[argparse.ArgumentParser]) -> None:
    reprice = _add(
        commands,
        "reprice",
        "show what the prices of now make of the past, and book the difference",
        "reprice",
        "reprice",
    )
    reprice.add_argument("--since", default="", help="usage from here on (default: everything)")
    reprice.add_argument("--dry-run", action="store_true", help="show it, book nothing")
    reprice.add_argument("--timeout", type=float, default=60, help="seconds to wait for it")
    reprice.add_argument("--json", action="store_true")
