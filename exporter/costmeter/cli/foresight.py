"""Flags of `forecast` and `what-if`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from costmeter.cli.questions import Add, Commands


def add_foresight(commands: Commands[Any], add: Add) -> None:
    ahead = add(commands, "forecast", "what will be spent, with intervals", "forecast", "forecast")
    ahead.add_argument(
        "--by",
        default="",
        metavar="DIMENSION",
        help="category, provider, model, tenant_id, team, feature or budget (default: everything)",
    )
    ahead.add_argument("--value", default="", help="only this value of it")
    ahead.add_argument(
        "--horizon", type=_days, default=30, metavar="DAYS", help="1 to 90 days ahead (30)"
    )
    ahead.add_argument("--json", action="store_true")
    ahead.add_argument(
        "--chart", type=Path, metavar="FILE.svg", help="draw the largest scope that is listed"
    )
    other = add(
        commands, "what-if", "another growth, price, model or number of users", "what_if",
        "scenarios",
    )  # fmt: skip
    for name, default, text in (
        ("--growth", "0.10", "growth of usage a year (0.10)"),
        ("--efficiency", "0.02", "usage saved a year by better use (0.02)"),
        ("--price-change", "0", "change of prices: --price-change=-20%% is a fifth cheaper (0)"),
        ("--users", "1", "users, over those of now (1)"),
        ("--tokens-ratio", "1", "tokens that the other model needs for the same text (1)"),
    ):
        other.add_argument(name, default=default, metavar="RATIO", help=text)
    other.add_argument(
        "--switch",
        action="append",
        default=[],
        metavar="PROVIDER/MODEL=PROVIDER/MODEL",
        help="the calls of one model at the prices of another; repeatable",
    )
    other.add_argument(
        "--where", action="append", default=[], metavar="DIM=VALUE", help="only this; repeatable"
    )
    other.add_argument("--months", type=int, default=12, help="1 to 120 (12)")
    other.add_argument("--json", action="store_true")
    other.add_argument("--chart", type=Path, metavar="FILE.svg", help="draw it")


def add_anomalies(commands: Commands[Any], add: Add) -> None:
    found = add(
        commands, "anomalies", "spend that was not as expected, and impossible amounts",
        "anomalies", "anomalies",
    )  # fmt: skip
    found.add_argument("--since", default="", help="a date, or an age such as 7d (30d)")
    found.add_argument("--open", action="store_true", help="only what nobody knows of yet")
    found.add_argument("--json", action="store_true")
    found.add_argument(
        "--acknowledge",
        default="",
        metavar="ID",
        help="say that it is known: its level is the new one",
    )
    found.add_argument("--note", default="", help="with --acknowledge: why")
    found.add_argument("--who", default="", help="with --acknowledge: who knows (you)")


def _days(text: str) -> int:
    days = int(text) if text.isdecimal() else 0
    if not 1 <= days <= 90:
        raise argparse.ArgumentTypeError(f"{text!r} days: 1 to 90 are possible")
    return days
