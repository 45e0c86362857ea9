"""The OpenAPI document of the two routes that write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from costmeter.ingest.corrections import CORRECTABLE
from costmeter.ingest.event import (
    MAX_LATENCY_MS,
    MAX_QUANTITY,
    MAX_TAGS,
    MAX_TEXT,
    SENT_UNITS,
)
from costmeter.ingest.openapi_gpu import GPU_SEGMENT, with_segments
from costmeter.model import PROCESSING, STATUSES, TOKEN_CLASSES

Schema = dict[str, Any]


def _optional(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _choice(values: tuple[str, ...]) -> Schema:
    return {"enum": [*values, None]}


def _counts(names: tuple[str, ...]) -> Schema:
    return {
        "type": ["object", "null"],
        "properties": {
            name: {"type": "integer", "minimum": 0, "maximum": MAX_QUANTITY} for name in names
        },
        "additionalProperties": False,
    }


_TEXT: Schema = {"type": "string", "maxLength": MAX_TEXT}
_SHARE: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_TIMESTAMP: Schema = {
    "oneOf": [
        {"type": "string", "format": "date-time", "description": "RFC 3339 with a zone"},
        {"type": "integer", "description": "Unix milliseconds"},
    ]
}
_TEXTS = (
    "request_id",
    "response_id",
    "tenant_id",
    "account",
    "region",
    "environment",
    "team",
    "project",
    "service",
    "feature",
    "operation",
    "purpose",
    "user_id",
    "session_id",
    "prompt_hash",
)
_EVENT: Schema = {
    "type": "object",
    "required": ["timestamp", "provider"],
    "additionalProperties": False,
    "properties": {
        "timestamp": _TIMESTAMP,
        "provider": {**_TEXT, "minLength": 1},
        "model": _optional(_TEXT),
        **{name: _optional(_TEXT) for name in _TEXTS},
        "tokens": _counts(TOKEN_CLASSES),
        "units": _counts(SENT_UNITS),
        "usage": {"type": ["object", "null"], "description": "the provider's usage object"},
        "response": {"type": ["object", "null"], "description": "the provider's whole response"},
        "status": _choice(STATUSES),
        "processing": _choice(PROCESSING),
        "latency_ms": {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_LATENCY_MS},
        "complexity": _SHARE,
        "quality": _SHARE,
        "tags": {
            "type": ["object", "null"],
            "maxProperties": MAX_TAGS,
            "additionalProperties": _TEXT,
        },
    },
}
_CORRECTION: Schema = {
    "type": "object",
    "required": ["correction_id"],
    "additionalProperties": False,
    "properties": {
        "correction_id": {**_TEXT, "minLength": 1},
        "timestamp": {"oneOf": [*_TIMESTAMP["oneOf"], {"type": "null"}]},
        "day": {"type": ["string", "null"], "format": "date"},
        "tenant_id": _optional(_TEXT),
        "request_id": _optional(_TEXT),
        "response_id": _optional(_TEXT),
        "provider": _optional(_TEXT),
        "set": {
            "type": ["object", "null"],
            "properties": dict.fromkeys(CORRECTABLE, _TEXT),
            "additionalProperties": False,
        },
        "tokens": _counts(TOKEN_CLASSES),
        "units": _counts(SENT_UNITS),
    },
}
_REJECTION: Schema = {
    "type": "object",
    "required": ["index", "field", "reason", "retriable"],
    "properties": {
        "index": {"type": "integer", "minimum": 0},
        "field": {"type": "string"},
        "reason": {"type": "string"},
        "retriable": {"type": "boolean"},
    },
}
_ANSWER: Schema = {
    "type": "object",
    "required": ["accepted", "duplicate", "observed", "rejected"],
    "properties": {
        "accepted": {"type": "integer", "minimum": 0},
        "duplicate": {"type": "integer", "minimum": 0},
        "observed": {"type": "integer", "minimum": 0},
        "rejected": {"type": "array", "items": {"$ref": "#/components/schemas/Rejection"}},
    },
}
_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string"},
        "line": {"type": "integer", "minimum": 1},
        "byte": {"type": "integer", "minimum": 0},
    },
}
_ERRORS: Mapping[str, str] = {
    "400": "The body cannot be read; `line` and `byte` say where.",
    "401": "A token is needed, or the one that came is not known.",
    "403": "Without tokens only programs on the server's own machine may write.",
    "408": "The body did not arrive in time.",
    "413": "Too many bytes or too many events; split the body.",
    "415": "Unknown content type, charset or content encoding.",
    "429": "Too much at once; nothing was taken. Wait for Retry-After.",
    "503": "The ledger cannot write. Wait for Retry-After and send again.",
}


def _body(record: str, envelope: str, max_records: int) -> Schema:
    one = {"$ref": f"#/components/schemas/{record}"}
    many = {"type": "array", "items": one, "maxItems": max_records}
    wrapped = {
        "type": "object",
        "required": [envelope],
        "additionalProperties": False,
        "properties": {envelope: many},
    }
    return {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": [many, wrapped, one]}},
            "application/x-ndjson": {
                "schema": {"type": "string", "description": f"one {record} on each line"}
            },
        },
    }


def _operation(name: str, summary: str, record: str, envelope: str, max_records: int) -> Schema:
    refused = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    answers: Schema = {
        "200": {
            "description": "The body was readable; refused records stand in `rejected`.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Answer"}}},
        }
    }
    for status, text in _ERRORS.items():
        answers[status] = {"description": text, "content": refused}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "security": [{}, {"bearer": []}],
            "requestBody": _body(record, envelope, max_records),
            "responses": answers,
        }
    }


def _otlp(name: str, summary: str, outer: str, rejected: str) -> Schema:
    """A route of OTLP; its bodies are described by OpenTelemetry."""
    partial: Schema = {
        "type": "object",
        "properties": {
            "partialSuccess": {
                "type": "object",
                "properties": {rejected: {"type": "string"}, "errorMessage": {"type": "string"}},
            }
        },
    }
    status: Schema = {
        "type": "object",
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
    }
    binary: Schema = {"type": "string", "format": "binary"}

    def both(schema: Schema) -> Schema:
        return {
            "application/json": {"schema": schema},
            "application/x-protobuf": {"schema": binary},
        }

    answers: Schema = {
        "200": {"description": "The body was readable.", "content": both(partial)},
    }
    for number, text in _ERRORS.items():
        # A slow body is answered 503, which senders of OTLP repeat, and not 408.
        if number != "408":
            answers[number] = {"description": text, "content": both(status)}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "security": [{}, {"bearer": []}],
            "requestBody": {
                "required": True,
                "content": both({"type": "object", "properties": {outer: {"type": "array"}}}),
            },
            "responses": answers,
        }
    }


def description(version: str, max_records: int) -> Schema:
    """OpenAPI 3.1 of the ingest routes, as plain JSON values."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "costmeter", "version": version},
        "paths": {
            "/api/v1/usage": with_segments(
                _operation("sendUsage", "Book calls to models", "Event", "events", max_records),
                max_records,
            ),
            "/api/v1/corrections": _operation(
                "sendCorrections",
                "Put booked calls right",
                "Correction",
                "corrections",
                max_records,
            ),
            "/v1/traces": _otlp(
                "sendSpans", "Book the calls in OTLP spans", "resourceSpans", "rejectedSpans"
            ),
            "/v1/metrics": _otlp(
                "sendSums", "Book OTLP token metrics", "resourceMetrics", "rejectedDataPoints"
            ),
        },
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Event": _EVENT,
                "GpuSegment": GPU_SEGMENT,
                "Correction": _CORRECTION,
                "Rejection": _REJECTION,
                "Answer": _ANSWER,
                "Error": _ERROR,
            },
        },
    }
