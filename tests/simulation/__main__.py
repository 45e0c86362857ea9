"""`python -m simulation`: build a history, and keep a Prometheus on it."""

from __future__ import annotations

import argparse
import re
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

from simulation.build import build, load
from simulation.scenario import FIXED_END_MS, Scenario

_UNITS = {"s": 1, "m": 60, "h": 3600}


def main() -> None:
    arguments = _arguments()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    if (arguments.out / "simulation.json").exists():
        built = load(arguments.out)
        say(f"{arguments.out} holds a history already; it is taken as it is")
    else:
        scenario = Scenario(
            days=arguments.days,
            step_seconds=arguments.step,
            fine_hours=arguments.fine // 3600,
            replicas=arguments.replicas,
            tenants=arguments.tenants,
            density=arguments.density,
            seed=arguments.seed,
            end_ms=arguments.end,
            trace=arguments.trace,
        )
        built = build(scenario, arguments.out, say)
        say(f"{built.samples:,} samples in {built.folder}")
    say(f"from {built.start_ms} to {built.end_ms} ({_iso(built.start_ms)} to {_iso(built.end_ms)})")
    if arguments.serve:
        prometheus = built.prometheus()
        prometheus.port = arguments.serve
        with prometheus:
            say(f"Prometheus on http://{prometheus.address}; end it with Ctrl-C")
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                signal.pause()
            except KeyboardInterrupt:
                say("stopped")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="an empty folder, or one built before")
    add("--days", type=int, default=30)
    add("--step", type=_seconds, default=300, help="between two scrapes (5m)")
    add("--fine", type=_seconds, default=21_600, help="scraped every minute at the end (6h)")
    add("--replicas", type=int, default=1, choices=(1, 2))
    add("--tenants", type=int, default=8)
    add("--density", type=float, default=1.0, help="below 1: fewer, larger calls")
    add("--seed", type=int, default=2026)
    add("--end", type=_instant, default=FIXED_END_MS, help="now, or an instant in ISO 8601")
    add("--trace", default="", help="a virtual cluster of Helios, for the GPUs (vchbv)")
    add("--serve", type=int, metavar="PORT", help="keep a Prometheus on it")
    return parser.parse_args()


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)([smh])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no span; write 90s, 5m or 24h")
    return int(found[1]) * _UNITS[found[2]]


def _instant(text: str) -> int:
    if text == "now":
        return int(time.time()) // 60 * 60_000
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) // 60 * 60_000


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")


if __name__ == "__main__":
    main()
