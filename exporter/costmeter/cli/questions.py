"""Flags of `estimate`, `explain`, `prices`, `gpu` and `erase-user`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Protocol

from costmeter.model import PROCESSING

Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


class Add(Protocol):
    """Adds a command that has the flags which all of them have."""

    def __call__(
        self, commands: Commands[Any], name: str, text: str, module: str, function: str, /
    ) -> argparse.ArgumentParser: ...


def add_questions(commands: Commands[Any], add: Add) -> None:
    _estimate(commands, add)
    _explain(commands, add)
    _prices(commands, add)
    _gpu(commands, add)
    erase = add(
        commands, "erase-user", "take a user out of the ledger; totals stay", "erase", "erase_user"
    )
    erase.add_argument("user", help="the user's id as senders write it, or - for standard input")
    erase.add_argument(
        "--tenant", action="append", default=[], metavar="TENANT", help="only there; repeatable"
    )
    erase.add_argument("--all-tenants", action="store_true", help="wherever the id occurs")
    erase.add_argument("--yes", action="store_true", help="do it; without, only say what it meets")
    erase.add_argument(
        "--skip-rebuild", action="store_true", help="do not rebuild the file afterwards"
    )
    erase.add_argument("--timeout", type=float, default=600, help="seconds to wait")
    erase.add_argument("--json", action="store_true")


def _estimate(commands: Commands[Any], add: Add) -> None:
    inner = commands.add_parser(
        "estimate", help="what usage would cost, before it happens"
    ).add_subparsers(required=True, metavar="WHAT")
    call = add(inner, "call", "one call, by class of token", "estimate", "call")
    _model(call)
    _used(call)
    talk = add(inner, "conversation", "a conversation that grows", "estimate", "conversation")
    _model(talk)
    talk.add_argument("--turns", default="10", metavar="N", help="questions and answers")
    talk.add_argument("--input", default="50", metavar="N", help="new tokens a turn (50)")
    talk.add_argument("--output", default="200", metavar="N", help="tokens of an answer (200)")
    talk.add_argument(
        "--growth", default="0.3", metavar="SHARE", help="of what was said before, sent along (0.3)"
    )
    talk.add_argument("--cached", action="store_true", help="what was sent before is cached")
    work = add(inner, "workload", "all models for a workload, ranked", "estimate", "workload")
    _used(work)
    work.add_argument("--calls", default="1000", metavar="N", help="calls a day (1000)")
    work.add_argument("--provider", action="append", default=[], help="only this; repeatable")
    work.add_argument("--context", default="", metavar="N", help="the window has to hold so much")
    work.add_argument("--top", default="10", metavar="N", help="models to show (10)")
    work.add_argument("--deprecated", action="store_true", help="deprecated models, too")
    work.add_argument("--all", action="store_true", help="name every model that was left out")
    month = add(inner, "month", "a month, from calls or from the ledger", "projection", "month")
    month.add_argument("provider", nargs="?", default="")
    month.add_argument("model", nargs="?", default="")
    _used(month)
    month.add_argument("--calls", default=None, metavar="N", help="calls a day")
    month.add_argument("--days", default="30", metavar="N", help="length of the month (30)")
    month.add_argument(
        "--confidence", type=int, default=95, choices=(80, 90, 95, 99), help="of the interval"
    )
    month.add_argument("--where", action="append", default=[], metavar="DIM=VALUE")
    infra = add(inner, "infra", "planned GPUs, storage and traffic", "projection", "infra")
    infra.add_argument("--gpus", default="1", metavar="N")
    infra.add_argument("--gpu", required=True, metavar="CARD", help="such as A100-40GB")
    infra.add_argument("--provider", required=True)
    infra.add_argument("--region", default="")
    infra.add_argument("--instance-type", default="")
    infra.add_argument("--hours", default="730", metavar="N", help="hours of each GPU (730)")
    infra.add_argument("--spot-percent", default="0", metavar="N", help="share of spot hours (0)")
    infra.add_argument("--storage-gb", default="0", metavar="N")
    infra.add_argument("--egress-gb", default="0", metavar="N")
    for name, unit in (
        ("on-demand", "GPU-hour"), ("spot", "GPU-hour"), ("storage", "GB-month"), ("egress", "GB"),
    ):  # fmt: skip
        infra.add_argument(
            f"--{name}-usd", default=None, metavar="USD", help=f"your price a {unit}"
        )
    infra.add_argument("--at", default="", metavar="DATE", help="prices of that day")
    infra.add_argument("--json", action="store_true")


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("provider")
    parser.add_argument("model")
    parser.add_argument("--account", default="", help="the provider's account, for its prices")
    parser.add_argument("--region", default="")
    if parser.prog.endswith("conversation"):
        _priced(parser)


def _used(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokens", default="", metavar="CLASS=N,...", help="input=1200,cache_read=800,output=150"
    )
    parser.add_argument("--units", default="", metavar="UNIT=N,...", help="web_searches=2")
    _priced(parser)


def _priced(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--processing", default="standard", choices=PROCESSING)
    parser.add_argument("--at", default="", metavar="DATE", help="prices of that time (now)")
    parser.add_argument("--json", action="store_true")


def _explain(commands: Commands[Any], add: Add) -> None:
    explain = add(
        commands, "explain", "why a figure is what it is, to the nano", "explain", "explain"
    )
    explain.add_argument(
        "what",
        nargs="?",
        help="an event's id, or a series: 'llm_cost_total{model=\"gpt-4o\"}'; else spend",
    )
    explain.add_argument("--by", default="", help="dimensions, with commas")
    explain.add_argument("--where", action="append", default=[], metavar="DIM=VALUE")
    explain.add_argument("--day", default="", help="one UTC day, such as 2026-11-20")
    explain.add_argument("--since", default="24h", help="24h, 7d, 2026-11-01 or an instant")
    explain.add_argument("--until", default="", help="the same; default: now")
    explain.add_argument("--top", type=int, default=10, metavar="N", help="figures to tell (10)")
    explain.add_argument("--json", action="store_true")


def _prices(commands: Commands[Any], add: Add) -> None:
    inner = commands.add_parser("prices", help="look at prices, compare and renew them")
    inner = inner.add_subparsers(required=True, metavar="WHAT")
    show = add(inner, "show", "every price of a model at a time", "prices", "show_prices")
    show.add_argument("model")
    show.add_argument("--provider", default="")
    show.add_argument("--account", default="")
    show.add_argument("--region", default="")
    show.add_argument("--gpu", action="store_true", help="the model is a card, such as A100-40GB")
    show.add_argument("--purchase", default="on_demand", choices=("on_demand", "spot", "reserved"))
    show.add_argument("--at", default="", metavar="DATE", help="a day or an instant (now)")
    show.add_argument("--json", action="store_true")
    diff = add(inner, "diff", "what a file of prices would change", "price_diff", "diff")
    _catalogue(diff, "a price file (YAML), or a newer catalogue (JSON)")
    diff.add_argument("--top", type=int, default=40, metavar="N", help="changes to show (40)")
    diff.add_argument("--json", action="store_true")
    update = add(inner, "update", "take a newer catalogue from a file", "prices", "update")
    _catalogue(update, "genai-prices' data (JSON), or a compiled catalogue")
    update.add_argument(
        "--from", dest="since", default="", metavar="DATE", help="it holds from there on (now)"
    )
    update.add_argument("--older", action="store_true", help="even if it was read earlier")


def _gpu(commands: Commands[Any], add: Add) -> None:
    gpu = add(commands, "gpu", "GPU time, energy and cost by state: used, idle, ...", "gpu", "gpu")
    gpu.add_argument("--by", default="tenant_id", help="dimensions, with commas (tenant_id)")
    gpu.add_argument("--since", default="24h", help="24h, 7d, 2026-11-01 or an instant")
    gpu.add_argument("--until", default="", help="the same; default: now")
    gpu.add_argument("--where", action="append", default=[], metavar="DIM=VALUE")
    gpu.add_argument("--json", action="store_true")


def _catalogue(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("file", type=Path, help=what)
    parser.add_argument(
        "--as-of", default="", metavar="DATE", help="when its prices were read, if it does not say"
    )
