"""A finished history in a folder: blocks of a Prometheus database, the ledger, and a note.

FOLDER/tsdb/             blocks: everything scraped, and the recording rules
FOLDER/ledger.db         the ledger as it stands at the end
FOLDER/simulation.json   the scenario, its first and last instant, how many samples
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from simulation.archive import BlockFiles, Scraper
from simulation.plan import plan
from simulation.platform import Platform
from simulation.recording import Span, record
from simulation.scenario import Scenario
from simulation.served import History, folder_of


@dataclass(frozen=True, slots=True)
class Built:
    """Where a history lies and what it is; instants in Unix milliseconds."""

    folder: Path
    scenario: Scenario
    samples: int
    seconds: float

    @property
    def start_ms(self) -> int:
        return self.scenario.start_ms

    @property
    def end_ms(self) -> int:
        return self.scenario.end_ms

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.db"

    def prometheus(self) -> History:
        """A Prometheus on this history; start it as a context manager."""
        return History(self.folder)


@dataclass(frozen=True, slots=True)
class Shown:
    """A history and the Prometheus that serves it."""

    built: Built
    prometheus: History


def build(scenario: Scenario, folder: Path, say: Callable[[str], None] = lambda _: None) -> Built:
    """Simulate `scenario` into an empty `folder`."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; name a folder that is")
    rules = plan()
    files = BlockFiles(folder / "scraped", folder_of(folder))
    Platform(folder, scenario, Scraper(files, rules.folds)).run(say)
    say("the last block")
    files.close()
    record(folder, rules, _spans(scenario), say)
    for leftover in ("scraped", "recorded"):
        shutil.rmtree(folder / leftover, ignore_errors=True)
    built = Built(folder, scenario, files.samples, time.monotonic() - began)
    note = {"scenario": asdict(scenario), "samples": built.samples, "seconds": built.seconds}
    (folder / "simulation.json").write_text(json.dumps(note, indent=1), "utf-8")
    return built


def kept(scenario: Scenario, say: Callable[[str], None] = lambda _: None) -> Built:
    """The history of `scenario`, from an earlier run where nothing has changed since.

    It lies in the temporary folder, so that several tests and several runs share one. Serve it
    from a copy (`copied`): a Prometheus takes the folder for itself.
    """
    root = Path(tempfile.gettempdir()) / "costmeter-simulation"
    root.mkdir(exist_ok=True)
    folder = root / scenario.key()
    # Several test processes may want it at once; the first one builds.
    with (root / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "simulation.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            build(scenario, folder, say)
        return load(folder)


def load(folder: Path) -> Built:
    """What `build` left in a folder."""
    note = json.loads((folder / "simulation.json").read_text("utf-8"))
    return Built(folder, Scenario(**note["scenario"]), note["samples"], note["seconds"])


def copied(built: Built, folder: Path) -> Built:
    """The same history in another folder; blocks are never changed, so they are linked."""
    shutil.copytree(folder_of(built.folder), folder_of(folder), copy_function=_linked)
    for name in ("simulation.json", "ledger.db"):
        shutil.copy2(built.folder / name, folder / name)
    return load(folder)


def _linked(source: str, target: str) -> str:
    try:
        Path(target).hardlink_to(source)
    except OSError:  # another file system
        shutil.copy2(source, target)
    return target


def _spans(scenario: Scenario) -> list[Span]:
    """Every scrape's instant and a second more, as stretches of an even step."""
    ticks = [at_ms + 1_000 for at_ms in scenario.ticks()]
    spans: list[Span] = []
    first = 0
    while first < len(ticks):
        step_ms = ticks[first + 1] - ticks[first] if first + 1 < len(ticks) else 60_000
        last = first
        while last + 1 < len(ticks) and ticks[last + 1] - ticks[last] == step_ms:
            last += 1
        spans.append((ticks[first], ticks[last], step_ms))
        first = last + 1
    return spans
