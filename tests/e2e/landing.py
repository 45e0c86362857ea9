"""The lines that the landing page offers, copied and pasted as a person would."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from html import unescape


def on_page(text: str, name: str) -> str:
    """What stands in one of the page's boxes, as a browser would copy it."""
    found = re.search(rf'<pre id="{name}">(.*?)</pre>', text, re.DOTALL)
    assert found is not None, text
    return unescape(found[1])


def paste(line: str, env: Mapping[str, str] | None = None) -> str:
    """Run it in a shell as it stands; what it printed."""
    done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, ""), line
    return done.stdout
