"""The part of the OpenAPI document that describes segments of GPU time."""

from __future__ import annotations

from typing import Any

from costmeter.ingest.event import MAX_TEXT
from costmeter.ingest.gpu_segments import ENVELOPE, ID, MAX_ENERGY_MJ, MAX_NAME, MAX_SHARES
from costmeter.model import MS_PER_HOUR
from costmeter.segment import Owner

Schema = dict[str, Any]

#: The first fields of an owner become labels, the others are names.
_LABELS_OF_OWNER = Owner._fields.index("namespace")
_TEXT: Schema = {"type": "string", "maxLength": MAX_TEXT}
_WHOLE: Schema = {"type": "integer", "minimum": 0}
_MILLISECONDS: Schema = {**_WHOLE, "maximum": MS_PER_HOUR}
_NAME: Schema = {"type": "string", "maxLength": MAX_NAME}
_IDENTITY: Schema = {"type": "string", "pattern": ID}
_GPU_SHARE: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "owner": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                name: _TEXT if position < _LABELS_OF_OWNER else _NAME
                for position, name in enumerate(Owner._fields)
            },
        },
        **dict.fromkeys(("used_ms", "idle_ms", "unallocated_ms", "unobserved_ms"), _MILLISECONDS),
        "energy_mj": {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_ENERGY_MJ},
        "instance": _NAME,
        "profile": _NAME,
    },
}
GPU_SEGMENT: Schema = {
    "type": "object",
    "description": "A closed stretch of one GPU's time. It lies within one hour of UTC, and "
    "its shares add up to duration_ms exactly. Needs a token that is bound to no tenant.",
    "required": [
        "run_id", "sequence", "start_ms", "duration_ms", "uuid", "gpu_model", "shares",
    ],
    "additionalProperties": False,
    "properties": {
        "run_id": _IDENTITY,
        "sequence": {**_WHOLE, "maximum": 2**53},
        "start_ms": {"type": "integer", "description": "Unix milliseconds"},
        "duration_ms": {"type": "integer", "minimum": 1, "maximum": MS_PER_HOUR},
        "uuid": _IDENTITY,
        "gpu_model": {**_TEXT, "minLength": 1},
        "shares": {"type": "array", "items": _GPU_SHARE, "minItems": 1, "maxItems": MAX_SHARES},
        "placement": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                **dict.fromkeys(("provider", "account", "region", "instance_type"), _TEXT),
                "purchase": {"enum": ["on_demand", "spot", "reserved"]},
                "node": _NAME,
            },
        },
    },
}  # fmt: skip


def with_segments(operation: Schema, max_records: int) -> Schema:
    """The operation that takes events, which takes segments beside or instead of them."""
    segments = {
        "type": "object",
        "required": [ENVELOPE],
        "additionalProperties": False,
        "properties": {
            "events": {"type": "array", "items": {"$ref": "#/components/schemas/Event"}},
            ENVELOPE: {
                "type": "array",
                "items": {"$ref": "#/components/schemas/GpuSegment"},
                "maxItems": max_records,
            },
        },
    }
    content = operation["post"]["requestBody"]["content"]
    content["application/json"]["schema"]["anyOf"].append(segments)
    return operation
