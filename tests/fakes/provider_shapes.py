"""Answers in the shapes of OpenAI and Anthropic, whole and as events of a stream.

Every builder takes the answer's number, the model, the words and the usage object that the
provider will say; the caller decides the figures.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
#: One server-sent event: its name (empty where the dialect has none) and its data.
Sse = tuple[str, str]

DONE: Sse = ("", "[DONE]")


def encode(event: Sse) -> bytes:
    name, data = event
    return (f"event: {name}\n" if name else "").encode() + b"data: " + data.encode() + b"\n\n"


def chat_usage(prompt: int, cached: int, completion: int, reasoning: int) -> Json:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0},
    }


def chat(number: int, model: str, words: Sequence[str], usage: Json | None) -> Json:
    message = {"role": "assistant", "content": "".join(words), "refusal": None}
    body: Json = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": model,
        "service_tier": "default",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
    }
    return body | ({"usage": usage} if usage is not None else {})


def chat_events(
    number: int, model: str, words: Sequence[str], usage: Json | None, asked: bool
) -> Iterator[Sse]:
    """Chunks; only when `asked` for does usage come, in a chunk of its own without choices."""
    base: Json = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": model,
        "service_tier": "default",
    }
    if asked:
        base["usage"] = None
    deltas: list[Json] = [{"role": "assistant", "content": ""}, *({"content": w} for w in words)]
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        yield "", json.dumps(base | {"choices": [choice]})
    yield "", json.dumps(base | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if asked and usage is not None:
        yield "", json.dumps(base | {"choices": [], "usage": usage})
    yield DONE


def responses_usage(whole: int, cached: int, output: int, reasoning: int) -> Json:
    return {
        "input_tokens": whole,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": whole + output,
    }


def response(
    number: int, model: str, words: Sequence[str], usage: Json | None, status: str = "completed"
) -> Json:
    text = {"type": "output_text", "text": "".join(words), "annotations": [], "logprobs": []}
    message = {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    search = {
        "id": f"ws_{number}",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": "private words"},
    }
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1_790_000_000,
        "status": status,
        "model": model,
        "output": [search, message] if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "service_tier": "default",
        "usage": usage,
    }


def response_events(number: int, model: str, words: Sequence[str], usage: Json) -> Iterator[Sse]:
    item = {
        "id": f"msg_{number}", "type": "message", "role": "assistant", "status": "in_progress",
        "content": [],
    }  # fmt: skip
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    started = response(number, model, (), None, "in_progress")
    finished = response(number, model, words, usage)
    finished["output"].reverse()
    events: list[Json] = [
        {"type": "response.created", "response": started},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": part},
        *(
            {"type": "response.output_text.delta", **place, "delta": word, "logprobs": []}
            for word in words
        ),
        {
            "type": "response.output_text.done",
            **place,
            "text": "".join(words),
            "logprobs": [],
        },
        {"type": "response.completed", "response": finished},
    ]
    for sequence, event in enumerate(events):
        yield event["type"], json.dumps(event | {"sequence_number": sequence})


def embeddings(model: str, texts: Sequence[str], form: str, tokens: int) -> Json:
    vector = [0.25, -0.5, 0.125]
    packed = base64.b64encode(struct.pack("<3f", *vector)).decode()
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": i, "embedding": packed if form == "base64" else vector}
            for i in range(len(texts))
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def images(whole: int, output: int) -> Json:
    """Pictures name no model, and all of their output is picture."""
    usage: Json = {"input_tokens": whole, "output_tokens": output, "total_tokens": whole + output}
    usage["input_tokens_details"] = {"text_tokens": whole, "image_tokens": 0}
    return {"created": 1_790_000_000, "data": [{"b64_json": "AAAA"}], "usage": usage}


def messages_usage(fresh: int, read: int, written: int, output: int) -> Json:
    return {
        "input_tokens": fresh,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
    }


def message(number: int, model: str, words: Sequence[str], usage: Json) -> Json:
    return {
        "id": f"msg_{number:06d}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": "".join(words)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }


def message_events(number: int, model: str, words: Sequence[str], usage: Json) -> Iterator[Sse]:
    """The input is known at the start, the output so far with each delta."""
    head = message(number, model, (), usage | {"output_tokens": 1})
    head |= {"content": [], "stop_reason": None}
    events: list[Json] = [
        {"type": "message_start", "message": head},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": word},
            }
            for word in words
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": usage["output_tokens"]},
        },
        {"type": "message_stop"},
    ]
    for event in events:
        yield event["type"], json.dumps(event)


def openai_error(status: int, text: str) -> Json:
    kind = {400: "invalid_request_error", 429: "rate_limit_exceeded"}.get(status, "server_error")
    return {"error": {"message": text, "type": kind, "param": None, "code": None}}


def anthropic_error(status: int, text: str) -> Json:
    kind = {400: "invalid_request_error", 429: "rate_limit_error", 529: "overloaded_error"}.get(
        status, "api_error"
    )
    return {"type": "error", "error": {"type": kind, "message": text}}


def classes_of(usage: Mapping[str, Any]) -> dict[str, int]:
    """Disjoint classes of one of this file's usage objects, counted apart from costmeter."""
    if "prompt_tokens" in usage:
        cached = usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
        thought = usage.get("completion_tokens_details", {}).get("reasoning_tokens", 0)
        whole, output = usage["prompt_tokens"], usage.get("completion_tokens", 0)
    elif "input_tokens_details" in usage:
        cached = usage["input_tokens_details"]["cached_tokens"]
        thought = usage["output_tokens_details"]["reasoning_tokens"]
        whole, output = usage["input_tokens"], usage["output_tokens"]
    else:
        found = {
            "input": usage["input_tokens"],
            "cache_read": usage["cache_read_input_tokens"],
            "cache_write_5m": usage["cache_creation_input_tokens"],
            "output": usage["output_tokens"],
        }
        return {name: count for name, count in found.items() if count}
    found = {
        "input": whole - cached,
        "cache_read": cached,
        "output": output - thought,
        "reasoning": thought,
    }
    return {name: count for name, count in found.items() if count}
