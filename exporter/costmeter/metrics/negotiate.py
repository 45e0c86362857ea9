"""What a client can read: its Accept and Accept-Encoding headers (RFC 9110, 12.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_TEXT_RANGES = (("text", "plain"), ("text", "*"), ("*", "*"))
_TEXT_VERSIONS = ("", "0.0.4")
_OPENMETRICS_VERSIONS = ("", "1.0.0")


def wants_openmetrics(accept: str) -> bool:
    """True when OpenMetrics 1.0.0 is asked for by name and liked no less than text 0.0.4.

    A wildcard never means OpenMetrics: a browser or curl gets text. Text is also the answer
    to a client that accepts neither, because a readable page helps more than a bare 406.
    """
    openmetrics = 0.0
    text: dict[tuple[str, str], float] = {}
    for value, parameters in _members(accept):
        kind, _, subtype = value.partition("/")
        weight = _weight(parameters)
        version = parameters.get("version", "")
        if value == "application/openmetrics-text" and version in _OPENMETRICS_VERSIONS:
            openmetrics = max(openmetrics, weight)
        elif (kind, subtype) in _TEXT_RANGES and version in _TEXT_VERSIONS:
            text[kind, subtype] = max(text.get((kind, subtype), 0.0), weight)
    # The most specific range that matches decides, whatever the wider ones say.
    text_weight = next((text[range_] for range_ in _TEXT_RANGES if range_ in text), 0.0)
    return openmetrics > 0 and openmetrics >= text_weight


def wants_gzip(accept_encoding: str) -> bool:
    """True when gzip is acceptable and liked no less than an uncompressed answer."""
    weights = {value: _weight(parameters) for value, parameters in _members(accept_encoding)}
    anything = weights.get("*", 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", anything))
    # Unnamed, "identity" is acceptable but the last choice.
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _members(header: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each element of a header's list with its parameters, all in lower case."""
    for member in header.lower().split(","):
        value, *rest = (part.strip() for part in member.split(";"))
        if value:
            pairs = (part.partition("=") for part in rest)
            yield value, {name.strip(): text.strip().strip('"') for name, _, text in pairs}


def _weight(parameters: Mapping[str, str]) -> float:
    """The q-value: 1 when it is missing, 0 (not acceptable) when it cannot be read."""
    try:
        weight = float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
    return weight if 0.0 <= weight <= 1.0 else 0.0
