"""The mark of tests that need files of real data, and the reason when these are absent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Test = TypeVar("Test", bound=Callable[..., object])


def needs(*paths: Path) -> Callable[[Test], Test]:
    absent = [str(path) for path in paths if not path.exists()]
    reason = f"{', '.join(absent)} is absent; set COSTMETER_DATA to the folder of real data"

    def mark(test: Test) -> Test:
        skipped: Test = pytest.mark.skipif(bool(absent), reason=reason)(test)
        marked: Test = pytest.mark.real_data(skipped)
        return marked

    return mark
