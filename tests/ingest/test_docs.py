"""`docs/ingest.md` says what the code does: every name is there, every example works."""

from __future__ import annotations

import json
import re
from pathlib import Path

from costmeter.ingest.corrections import CORRECTABLE, CorrectionReader
from costmeter.ingest.event import (
    MAX_EVENTS,
    RESERVED_UNITS,
    SENT_UNITS,
    CorrectionRecord,
    Event,
)
from costmeter.ingest.events import EventReader
from costmeter.ingest.openapi import description
from costmeter.ingest.owner import Caller
from costmeter.ingest.window import Window
from costmeter.model import PROCESSING, STATUSES, TOKEN_CLASSES
from fakes.calls import NOW, NOW_MS, call

TEXT = (Path(__file__).parents[2] / "docs" / "ingest.md").read_text()
CALLER = Caller("http")


def test_every_name_is_described() -> None:
    names = {
        *Event.__struct_fields__,
        *CorrectionRecord.__struct_fields__,
        *TOKEN_CLASSES,
        *SENT_UNITS,
        *RESERVED_UNITS,
        *STATUSES,
        *PROCESSING,
        *CORRECTABLE,
    }
    assert {name for name in names if f"`{name}`" not in TEXT} == set()
    assert f"{MAX_EVENTS:,} events" in TEXT
    assert f"open for booking for {Window().open_days} days" in TEXT
    assert f"{Window().ahead_ms // 1_000} seconds in the future" in TEXT


def examples() -> list[str]:
    return [
        re.sub(r"'\$\(date [^)]*\)'", NOW, found)
        for found in re.findall(r"-d '(\{.*?\n\})'\n", TEXT, re.DOTALL)
    ]


def test_the_examples_are_taken() -> None:
    event, correction = examples()
    taken = EventReader(Window()).read(event.encode(), CALLER, NOW_MS)
    assert (len(taken.items), taken.rejections) == (1, [])
    corrected = CorrectionReader().read(correction.encode(), CALLER)
    assert (len(corrected.items), corrected.rejections) == (1, [])


def test_the_example_of_a_rejection_is_a_real_one() -> None:
    found = re.search(r'^\{"index": 3.*\}$', TEXT, re.MULTILINE)
    assert found is not None
    body = json.dumps([call(n, tokens={"input": -1 if n == 3 else 1}) for n in range(4)])
    (rejection,) = EventReader(Window()).read(body.encode(), CALLER, NOW_MS).rejections
    assert rejection.answer() == json.loads(found[0])


def test_the_api_description_has_exactly_the_fields_of_the_code() -> None:
    schemas = description("0", MAX_EVENTS)["components"]["schemas"]
    assert set(schemas["Event"]["properties"]) == set(Event.__struct_fields__)
    assert set(schemas["Correction"]["properties"]) == set(CorrectionRecord.__struct_fields__)


def test_statuses_in_the_table_are_those_of_the_api_description() -> None:
    described = description("0", MAX_EVENTS)["paths"]["/api/v1/usage"]["post"]["responses"]
    assert re.findall(r"^\| (\d{3}) \|", TEXT, re.MULTILINE) == sorted(described)
