"""Writes a configuration file and loads it, as the process does at its start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from costmeter.config import Config, ConfigError, load_config

Load = Callable[..., Config]
Refuse = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads YAML text as costmeter.yml in a folder of its own."""

    def loaded(
        text: str, environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
    ) -> Config:
        path = tmp_path / "costmeter.yml"
        path.write_text(text, "utf-8")
        return load_config(path, environ or {}, flags or {})

    return loaded


@pytest.fixture
def refuse(load: Load, tmp_path: Path) -> Refuse:
    """Loads YAML text that has mistakes, and returns them, with the folder cut off."""

    def refused(text: str, **sources: Mapping[str, str]) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, **sources)
        return [line.replace(f"{tmp_path}/", "") for line in str(caught.value).splitlines()]

    return refused
