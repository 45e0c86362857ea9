"""A detection as text, for the worker process: one JSON object in, one out.

Without numpy: the server writes the request and reads the reply with this.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import to_builtins

from costmeter.analysis.anomaly.shapes import (
    Acknowledgement,
    Baseline,
    Detection,
    Finding,
    Reading,
    Scope,
    Series,
    Settings,
    Share,
    State,
)

_Request = tuple[list[Series], int, Settings, list[Acknowledgement], dict[tuple[Scope, int], State]]


def write_request(
    series: Sequence[Series],
    now_ms: int,
    settings: Settings,
    acknowledged: Iterable[Acknowledgement] = (),
    states: Mapping[tuple[Scope, int], State] | None = None,
) -> bytes:
    """What the worker reads from its standard input; arguments as of `detect_many`."""
    return _text(
        {
            "now_ms": now_ms,
            "settings": to_builtins(settings),
            "series": [_series(one) for one in series],
            "acknowledged": [to_builtins(one) for one in acknowledged],
            "states": _states(states or {}),
        }
    )


def read_request(text: bytes) -> _Request:
    """The arguments of `detect_many`; ValueError, KeyError or TypeError on any other text."""
    body = json.loads(text)
    series = [
        Series(
            **{
                **one,
                "scope": _scope(one["scope"]),
                "late": frozenset(one["late"]),
                "planned": frozenset(one["planned"]),
            }
        )
        for one in body["series"]
    ]
    said = [
        Acknowledgement(**{**one, "scope": _scope(one["scope"])}) for one in body["acknowledged"]
    ]
    return series, body["now_ms"], Settings(**body["settings"]), said, _read_states(body["states"])


def write_reply(found: Detection) -> bytes:
    """What the worker writes to its standard output."""
    return _text(
        {
            "findings": [to_builtins(one) for one in found.findings],
            "readings": [to_builtins(one) for one in found.readings],
            "states": _states(found.states),
        }
    )


def read_reply(text: bytes) -> Detection:
    """A reply back as it was; ValueError, KeyError or TypeError on any other text."""
    body = json.loads(text)
    return Detection(
        tuple(read_finding(one) for one in body["findings"]),
        tuple(
            Reading(
                **{
                    **one,
                    "scope": _scope(one["scope"]),
                    "baseline": Baseline(**one["baseline"]),
                }
            )
            for one in body["readings"]
        ),
        _read_states(body["states"]),
    )


def read_finding(body: Mapping[str, Any]) -> Finding:
    """A finding from its fields, as a document of the ledger keeps it.

    Keys that this version does not know are left out.
    """
    known = set(Finding.__struct_fields__)
    return Finding(
        **{
            **{name: value for name, value in body.items() if name in known},
            "scope": _scope(body["scope"]),
            "baseline": Baseline(**body["baseline"]),
            "explanation": tuple(Share(**share) for share in body.get("explanation", ())),
        }
    )


def _series(series: Series) -> dict[str, Any]:
    return {
        "scope": series.scope,
        "start_ms": series.start_ms,
        "nano": list(series.nano),
        "final_until_ms": series.final_until_ms,
        "step_ms": series.step_ms,
        "late": sorted(series.late),
        "planned": sorted(series.planned),
    }


def _states(states: Mapping[tuple[Scope, int], State]) -> list[list[Any]]:
    return [[scope, step_ms, state] for (scope, step_ms), state in sorted(states.items(), key=_key)]


def _key(item: tuple[tuple[Scope, int], State]) -> tuple[Scope, int]:
    return item[0]


def _read_states(body: Sequence[Sequence[Any]]) -> dict[tuple[Scope, int], State]:
    return {(_scope(scope), int(step_ms)): state for scope, step_ms, state in body}


def _scope(pairs: Iterable[Sequence[str]]) -> Scope:
    return tuple((label, value) for label, value in pairs)


def _text(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
