"""The stand-in driver, and a child process that samples it with the real pynvml."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakes.nvml.build import CannotBuild, build_library
from fakes.nvml.lab import Lab


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A present-day driver library and an old one."""
    folder = tmp_path_factory.mktemp("nvml")
    try:
        return {
            "new": build_library(folder / "new"),
            "old": build_library(folder / "old", old=True),
        }
    except CannotBuild as missing:
        pytest.skip(f"the stand-in for the NVIDIA driver cannot be built: {missing}")


@pytest.fixture
def make_lab(tmp_path: Path, libraries: dict[str, Path]) -> Iterator[Callable[[], Lab]]:
    made: list[Lab] = []

    def make() -> Lab:
        made.append(Lab(tmp_path, libraries))
        return made[-1]

    yield make
    codes = [child.end() for lab in made for child in lab.children]
    assert codes == [0] * len(codes)


@pytest.fixture
def lab(make_lab: Callable[[], Lab]) -> Lab:
    """A machine with its driver installed, an L40S at 40 % and an A100 at 100 %."""
    made = make_lab()
    made.install()
    return made


@pytest.fixture
def bare_lab(make_lab: Callable[[], Lab]) -> Lab:
    """The same machine before the driver is installed."""
    return make_lab()
