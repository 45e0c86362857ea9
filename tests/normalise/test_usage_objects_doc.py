"""The user's page keeps to what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from costmeter.model import QUANTITIES
from costmeter.normalise import normalise_usage

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "usage-objects.md").read_text("utf-8")


def test_the_example_becomes_what_the_page_says() -> None:
    example = re.search(r"```json\n(.*?)```\n\nbecomes (.*?)\.\n", PAGE, re.DOTALL)
    assert example is not None
    event = json.loads(example[1])
    said = {name: int(value) for name, value in re.findall(r"`(\w+)` (\d+)", example[2])}
    assert said == normalise_usage(event["provider"], event["usage"]).quantities


def test_the_table_of_classes_names_real_ones_and_every_token_class() -> None:
    table = PAGE.partition("## The classes")[2].partition("\n## ")[0]
    first_columns = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name for column in first_columns for name in re.findall(r"`(\w+)`", column)}
    assert named <= QUANTITIES
    tokens = {
        name
        for name in QUANTITIES
        if name.startswith(("input", "output", "cache")) or name == "reasoning"
    }
    by_piece = {"input_characters", "input_messages", "input_pixels", "output_audio_ms"}
    assert tokens - by_piece <= named
