"""`costmeter demo`: a platform in a temporary folder, from its calls to a page."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from costmeter.cli.errors import CommandError
from costmeter.cli.shipped import dashboard_files, deploy_file, rule_files
from costmeter.demo.children import Stop, Stopped, Trouble
from costmeter.demo.grafana import Provisioning
from costmeter.demo.play import Play
from costmeter.demo.programs import NO_GRAFANA, find_programs
from costmeter.demo.scene import scene, trace_to_keep, write_trace
from costmeter.demo.screen import Screen
from costmeter.demo.stage import Parts, Stage
from costmeter.pricing import load_price_book


def demo(arguments: argparse.Namespace) -> int:
    """0 after Ctrl-C and SIGTERM, as `serve`; 1 when something was missing at its end."""
    if arguments.trace_only is not None:
        return _trace(arguments.trace_only)
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.ask())
    screen = Screen(sys.stdout, quiet=arguments.quiet)
    folder = Path(tempfile.mkdtemp(prefix="costmeter-demo-"))
    try:
        return _play(arguments, folder, screen, stop)
    finally:
        if arguments.keep:
            screen.note(f"everything is kept in {folder}")
        else:
            shutil.rmtree(folder)


def _play(arguments: argparse.Namespace, folder: Path, screen: Screen, stop: Stop) -> int:
    screen.step(f"a demonstration of costmeter, in {folder}")
    programs = find_programs()
    for line in programs.missing():
        screen.note(line)
    if programs.grafana is None:
        screen.step(NO_GRAFANA)
    book = load_price_book(())
    stage = None
    try:
        stage = Stage(folder, _parts(), programs, screen, stop, arguments.port)
        staged = scene(time.time_ns() // 1_000_000, book, stop.watch)
        stage.set_up(staged)
        screen.links(stage.links())
        play = Play(stage, staged, screen, stop, book)
        play.run(arguments.duration)
        if stage.can_page and play.first_page_seconds is None:
            screen.note("no page arrived; a --duration of 120 is enough on most machines")
            return 1
        return int(play.lost_a_program)
    except Stopped:
        screen.step("ending every program")
        return 0
    except Trouble as trouble:
        screen.end()
        print(f"costmeter: {trouble}", file=sys.stderr)
        return 1
    finally:
        # Whatever happened, to the terminal too: nothing is left running.
        if stage is not None:
            stage.close()


def _parts() -> Parts:
    try:
        grafana = Provisioning(
            deploy_file("grafana/provisioning/datasources/prometheus.yml"),
            deploy_file("grafana/provisioning/dashboards/costmeter.yml"),
            [(item.file, item.text) for item in dashboard_files()],
        )
    except CommandError:
        # Everything else can be shown without.
        grafana = None
    return Parts(
        rules=[(item.file, item.text) for item in rule_files()],
        prometheus=deploy_file("prometheus/prometheus.yml"),
        alertmanager=deploy_file("alertmanager/alertmanager.yml"),
        grafana=grafana,
    )


def _trace(path: Path) -> int:
    if path.suffix not in (".ndjson", ".jsonl"):
        better = path.with_suffix(".ndjson").name
        raise CommandError(f"{path} would be read as CSV by `costmeter replay`; name it {better}")
    calls = trace_to_keep()
    try:
        write_trace(path, calls)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None
    print(f"{len(calls):,} events in {path}; play them in with: costmeter replay {path}")
    return 0
