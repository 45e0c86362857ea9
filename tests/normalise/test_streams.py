"""The events of streamed responses, in the documented order."""

from __future__ import annotations

from costmeter.normalise import Normalised, normalise_stream


def test_chat_chunks_end_with_the_usage() -> None:
    chunk = {"id": "chatcmpl-1", "model": "gpt-x", "choices": [{"delta": {"content": "a"}}]}
    last = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    events = [
        {**chunk, "service_tier": "default", "usage": None},
        {**chunk, "usage": None},
        {**chunk, "choices": [], "usage": last},
    ]
    assert Normalised(
        {"input": 3, "output": 4}, "gpt-x", "standard", "chatcmpl-1"
    ) == normalise_stream("openai", events)


def test_running_totals_are_not_added_up() -> None:
    events = [
        {"id": "c", "usage": {"prompt_tokens": 3, "completion_tokens": n, "total_tokens": 3 + n}}
        for n in (1, 2, 9)
    ]
    read = normalise_stream("vllm", events)
    assert read is not None
    assert read.quantities == {"input": 3, "output": 9}


def test_messages_begin_with_the_input_and_end_with_the_output() -> None:
    events = [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "model": "claude-x",
                "usage": {
                    "input_tokens": 20,
                    "cache_read_input_tokens": 500,
                    "cache_creation_input_tokens": 60,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 0,
                        "ephemeral_1h_input_tokens": 60,
                    },
                    "output_tokens": 1,
                    "service_tier": "priority",
                },
            },
        },
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 40}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 77, "server_tool_use": {"web_search_requests": 1}},
        },
        {"type": "message_stop"},
    ]
    expected = Normalised(
        {
            "input": 20,
            "cache_read": 500,
            "cache_write_1h": 60,
            "output": 77,
            "web_searches": 1,
        },
        "claude-x",
        "priority",
        "msg_1",
    )
    assert expected == normalise_stream("anthropic", events)
    metrics = {"inputTokenCount": 20, "outputTokenCount": 77, "cacheReadInputTokenCount": 500}
    events[-1] = {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics}
    assert expected == normalise_stream("aws", events)


def test_invocation_metrics_serve_where_the_model_says_nothing() -> None:
    events = [
        {"generation": "a"},
        {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 6}},
    ]
    assert Normalised({"input": 5, "output": 6}) == normalise_stream("aws", events)


def test_responses_events() -> None:
    response = {"id": "resp_1", "model": "gpt-x", "usage": None}
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    events = [
        {"type": "response.created", "response": response},
        {"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.completed", "response": {**response, "usage": usage}},
    ]
    assert Normalised({"input": 3, "output": 4}, "gpt-x", "", "resp_1") == normalise_stream(
        "openai", events
    )


def test_gemini_chunks_repeat_the_usage() -> None:
    events = [
        {
            "modelVersion": "gemini-x",
            "responseId": "g-1",
            "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
        },
        {
            "modelVersion": "gemini-x",
            "responseId": "g-1",
            "usageMetadata": {
                "promptTokenCount": 5,
                "candidatesTokenCount": 6,
                "thoughtsTokenCount": 7,
                "totalTokenCount": 18,
            },
        },
    ]
    assert Normalised(
        {"input": 5, "output": 6, "reasoning": 7}, "gemini-x", "", "g-1"
    ) == normalise_stream("google", events)


def test_converse_ends_with_its_metadata() -> None:
    events = [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"text": "a"}, "contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": {"inputTokens": 5, "outputTokens": 6, "totalTokens": 11}}},
    ]
    assert Normalised({"input": 5, "output": 6}) == normalise_stream("bedrock", events)


def test_cohere_ends_with_its_billed_units() -> None:
    events = [
        {"id": "c-1", "type": "message-start", "delta": {"message": {"role": "assistant"}}},
        {
            "type": "message-end",
            "delta": {"usage": {"billed_units": {"input_tokens": 5, "output_tokens": 6}}},
        },
    ]
    assert Normalised({"input": 5, "output": 6}, "", "", "c-1") == normalise_stream(
        "cohere", events
    )


def test_ollama_counts_in_its_last_line() -> None:
    events = [
        {"model": "llama-x", "response": "a", "done": False},
        {"model": "llama-x", "done": True, "prompt_eval_count": 5, "eval_count": 6},
    ]
    assert Normalised({"input": 5, "output": 6}, "llama-x") == normalise_stream("ollama", events)


def test_a_stream_without_usage_is_none() -> None:
    assert normalise_stream("openai", []) is None
    assert normalise_stream("openai", [{"id": "c", "choices": [], "usage": None}]) is None
