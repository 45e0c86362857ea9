"""`python -m traps [NAME...]`: live these months and print which alerts fire.

With `--pages FOLDER` only what Prometheus would keep of them is written there, one file each.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from traps.happenings import LOOK, MONTH
from traps.judge import judge
from traps.ledgers import local
from traps.quarter import QUARTER, THE_QUARTER
from traps.scenarios import BY_NAME


def main(arguments: list[str]) -> int:
    folder: Path | None = None
    if arguments[:1] == ["--pages"]:
        folder = Path(arguments[1])
        arguments = arguments[2:]
    lines: list[bytes] = []
    known = {**BY_NAME, THE_QUARTER.name: THE_QUARTER}
    span, look = MONTH, LOOK
    if arguments == [THE_QUARTER.name]:
        span, look = QUARTER, tuple(THE_QUARTER.look)
    for name in arguments or list(BY_NAME):
        began = time.perf_counter()
        world = known[name].world()
        world.run()
        print(f"{name}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
        if folder is None:
            lines += world.scrapes.lines
        else:
            (folder / f"{name}.om").write_bytes(b"".join(world.scrapes.lines))
    if folder is None:
        with tempfile.TemporaryDirectory() as root:
            for found in judge(Path(root), lines, span, look):
                told = " ".join(f"{name}={text}" for name, text in found.labels)
                print(
                    f"{found.job} {found.alert} {local(found.from_ms):%m-%dT%H:%M}"
                    f"-{local(found.to_ms):%m-%dT%H:%M} {told}"
                )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
