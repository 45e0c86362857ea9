"""Invented objects of every dialect in the documented shapes: the twin of the real bodies."""

from __future__ import annotations

from typing import Any

import pytest

from costmeter.normalise import Normalised, normalise_response, normalise_usage

#: (provider, usage object, expected quantities, expected `estimated`)
USAGES: dict[str, tuple[str, dict[str, Any], dict[str, int], bool]] = {
    "chat, cached and reasoning inside": (
        "openai",
        {
            "prompt_tokens": 900,
            "completion_tokens": 310,
            "total_tokens": 1210,
            "prompt_tokens_details": {"cached_tokens": 640, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 256,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 12,
                "rejected_prediction_tokens": 3,
            },
        },
        {"input": 260, "cache_read": 640, "output": 54, "reasoning": 256},
        False,
    ),
    "chat, nulls in place of details": (
        "together",
        {
            "prompt_tokens": 31,
            "completion_tokens": 7,
            "total_tokens": 38,
            "prompt_tokens_details": None,
            "completion_tokens_details": {"reasoning_tokens": None},
        },
        {"input": 31, "output": 7},
        False,
    ),
    "chat, audio on both sides": (
        "openai",
        {
            "prompt_tokens": 120,
            "completion_tokens": 90,
            "total_tokens": 210,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 80, "text_tokens": 40},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 70},
        },
        {"input": 40, "input_audio": 80, "output": 20, "output_audio": 70},
        False,
    ),
    "chat, cached audio that is not split: text first": (
        "openai",
        {
            "prompt_tokens": 120,
            "completion_tokens": 10,
            "total_tokens": 130,
            "prompt_tokens_details": {"cached_tokens": 100, "audio_tokens": 80},
        },
        {"cache_read": 40, "cache_read_audio": 60, "input_audio": 20, "output": 10},
        True,
    ),
    "chat, written to a cache": (
        "openrouter",
        {
            "prompt_tokens": 5000,
            "completion_tokens": 20,
            "total_tokens": 5020,
            "cost": 0.011,
            "cost_details": {"upstream_inference_cost": None},
            "prompt_tokens_details": {"cached_tokens": 1500, "cache_write_tokens": 3200},
            "server_tool_use": {"web_search_requests": 2},
        },
        {
            "input": 300,
            "cache_read": 1500,
            "cache_write_5m": 3200,
            "output": 20,
            "web_searches": 2,
        },
        False,
    ),
    "a gateway that adds Anthropic's names to a chat": (
        "litellm",
        {
            "prompt_tokens": 700,
            "completion_tokens": 30,
            "total_tokens": 730,
            "cache_read_input_tokens": 400,
            "cache_creation_input_tokens": 200,
        },
        {"input": 100, "cache_read": 400, "cache_write_5m": 200, "output": 30},
        False,
    ),
    "DeepSeek": (
        "deepseek",
        {
            "prompt_tokens": 1000,
            "completion_tokens": 60,
            "total_tokens": 1060,
            "prompt_cache_hit_tokens": 896,
            "prompt_cache_miss_tokens": 104,
            "completion_tokens_details": {"reasoning_tokens": 44},
        },
        {"input": 104, "cache_read": 896, "output": 16, "reasoning": 44},
        False,
    ),
    "Moonshot": (
        "moonshotai",
        {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55, "cached_tokens": 32},
        {"input": 18, "cache_read": 32, "output": 5},
        False,
    ),
    "Mistral": (
        "mistral",
        {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 55, "num_cached_tokens": 16},
        {"input": 34, "cache_read": 16, "output": 5},
        False,
    ),
    "Mistral's singular details": (
        "mistral",
        {
            "prompt_tokens": 50,
            "completion_tokens": 5,
            "total_tokens": 55,
            "num_cached_tokens": 0,
            "prompt_token_details": {"cached_tokens": 24},
        },
        {"input": 26, "cache_read": 24, "output": 5},
        False,
    ),
    "Mistral's audio": (
        "mistral",
        {
            "prompt_tokens": 6,
            "completion_tokens": 410,
            "total_tokens": 2241,
            "prompt_audio_seconds": 146,
        },
        {"input": 6, "output": 410, "input_audio_ms": 146_000},
        False,
    ),
    "Mistral's pages": (
        "mistral",
        {"pages_processed": 12, "doc_size_bytes": 90_211},
        {"input_pages": 12},
        False,
    ),
    "Groq": (
        "groq",
        {
            "queue_time": 0.02,
            "prompt_tokens": 44,
            "prompt_time": 0.002,
            "completion_tokens": 9,
            "completion_time": 0.01,
            "total_tokens": 53,
            "total_time": 0.012,
        },
        {"input": 44, "output": 9},
        False,
    ),
    "xAI counts reasoning beside": (
        "xai",
        {
            "prompt_tokens": 40,
            "completion_tokens": 11,
            "total_tokens": 351,
            "prompt_tokens_details": {
                "text_tokens": 40,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": 8,
            },
            "completion_tokens_details": {"reasoning_tokens": 300, "audio_tokens": 0},
            "num_sources_used": 0,
        },
        {"input": 32, "cache_read": 8, "output": 11, "reasoning": 300},
        False,
    ),
    "xAI without a total": (
        "grok",
        {
            "prompt_tokens": 40,
            "completion_tokens": 11,
            "completion_tokens_details": {"reasoning_tokens": 300},
        },
        {"input": 40, "output": 11, "reasoning": 300},
        False,
    ),
    "the total shows reasoning beside, whoever says it": (
        "azure",
        {
            "prompt_tokens": 12,
            "completion_tokens": 2,
            "total_tokens": 331,
            "completion_tokens_details": {"reasoning_tokens": 317},
        },
        {"input": 12, "output": 2, "reasoning": 317},
        False,
    ),
    "the total shows reasoning inside, even for xAI": (
        "xai",
        {
            "prompt_tokens": 12,
            "completion_tokens": 400,
            "total_tokens": 412,
            "completion_tokens_details": {"reasoning_tokens": 317},
        },
        {"input": 12, "output": 83, "reasoning": 317},
        False,
    ),
    "xAI's tools": (
        "x-ai",
        {
            "input_tokens": 90,
            "output_tokens": 30,
            "total_tokens": 120,
            "input_tokens_details": {"cached_tokens": 64},
            "output_tokens_details": {"reasoning_tokens": 10},
            "num_server_side_tools_used": 4,
            "server_side_tool_usage_details": {
                "web_search_calls": 1,
                "x_search_calls": 2,
                "code_interpreter_calls": 1,
                "file_search_calls": 0,
                "mcp_calls": 0,
            },
        },
        {
            "input": 26,
            "cache_read": 64,
            "output": 20,
            "reasoning": 10,
            "web_searches": 1,
            "social_searches": 2,
            "code_executions": 1,
        },
        False,
    ),
    "Gemini behind an OpenAI-compatible front hides its thoughts": (
        "google",
        {"prompt_tokens": 700, "completion_tokens": 100, "total_tokens": 1700},
        {"input": 700, "output": 100, "reasoning": 900},
        True,
    ),
    "a total below its parts": (
        "somebody",
        {"prompt_tokens": 70, "completion_tokens": 10, "total_tokens": 70},
        {"input": 70, "output": 10},
        True,
    ),
    "Perplexity's deep research": (
        "perplexity",
        {
            "prompt_tokens": 25,
            "completion_tokens": 900,
            "total_tokens": 925,
            "citation_tokens": 4000,
            "num_search_queries": 17,
            "reasoning_tokens": 60_000,
            "search_context_size": "low",
        },
        {"input": 4025, "output": 900, "reasoning": 60_000, "web_searches": 17},
        False,
    ),
    "embeddings": ("openai", {"prompt_tokens": 8, "total_tokens": 8}, {"input": 8}, False),
    "a total alone": ("voyageai", {"total_tokens": 61}, {"input": 61}, True),
    "no output count": (
        "somebody",
        {"prompt_tokens": 8, "total_tokens": 11},
        {"input": 8, "output": 3},
        True,
    ),
    "no input count": ("somebody", {"completion_tokens": 11}, {"output": 11}, True),
    "responses": (
        "openai",
        {
            "input_tokens": 4100,
            "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 3000},
            "output_tokens": 70,
            "output_tokens_details": {"reasoning_tokens": 64},
            "total_tokens": 4170,
        },
        {
            "input": 100,
            "cache_read": 1000,
            "cache_write_5m": 3000,
            "output": 6,
            "reasoning": 64,
        },
        False,
    ),
    "images": (
        "openai",
        {
            "total_tokens": 4500,
            "input_tokens": 340,
            "output_tokens": 4160,
            "input_tokens_details": {"text_tokens": 17, "image_tokens": 323},
            "output_tokens_details": {"text_tokens": 0, "image_tokens": 4160},
        },
        {"input": 17, "input_image": 323, "output_image": 4160},
        False,
    ),
    "transcription by tokens": (
        "openai",
        {
            "type": "tokens",
            "input_tokens": 150,
            "input_token_details": {"text_tokens": 10, "audio_tokens": 140},
            "output_tokens": 45,
            "total_tokens": 195,
        },
        {"input": 10, "input_audio": 140, "output": 45},
        False,
    ),
    "transcription by duration": (
        "openai",
        {"type": "duration", "seconds": 9.25},
        {"input_audio_ms": 9250},
        False,
    ),
    "a live session by duration": ("openai", {"seconds": 61}, {"audio_ms": 61_000}, False),
    "realtime, everything cached by modality": (
        "openai",
        {
            "total_tokens": 1250,
            "input_tokens": 1000,
            "output_tokens": 250,
            "input_token_details": {
                "text_tokens": 400,
                "audio_tokens": 550,
                "image_tokens": 50,
                "cached_tokens": 700,
                "cached_tokens_details": {
                    "text_tokens": 300,
                    "audio_tokens": 384,
                    "image_tokens": 16,
                },
            },
            "output_token_details": {"text_tokens": 50, "audio_tokens": 200},
        },
        {
            "input": 100,
            "input_audio": 166,
            "input_image": 34,
            "cache_read": 300,
            "cache_read_audio": 384,
            "cache_read_image": 16,
            "output": 50,
            "output_audio": 200,
        },
        False,
    ),
    "Anthropic, both lifetimes, thinking and a search": (
        "anthropic",
        {
            "input_tokens": 9,
            "cache_read_input_tokens": 15_000,
            "cache_creation_input_tokens": 700,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 300,
                "ephemeral_1h_input_tokens": 400,
            },
            "output_tokens": 210,
            "output_tokens_details": {"thinking_tokens": 150},
            "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1},
            "service_tier": "standard",
        },
        {
            "input": 9,
            "cache_read": 15_000,
            "cache_write_5m": 300,
            "cache_write_1h": 400,
            "output": 60,
            "reasoning": 150,
            "web_searches": 3,
        },
        False,
    ),
    "Anthropic, cache writes without a split": (
        "aws",
        {
            "input_tokens": 9,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 700,
            "output_tokens": 10,
        },
        {"input": 9, "cache_write_5m": 700, "output": 10},
        True,
    ),
    "Anthropic, the split alone": (
        "anthropic",
        {
            "input_tokens": 9,
            "cache_creation": {"ephemeral_1h_input_tokens": 70},
            "output_tokens": 10,
        },
        {"input": 9, "cache_write_1h": 70, "output": 10},
        False,
    ),
    "a total proves that the caches are parts of the input": (
        "a gateway",
        {
            "input_tokens": 900,
            "output_tokens": 10,
            "total_tokens": 910,
            "cache_read_input_tokens": 800,
        },
        {"input": 100, "cache_read": 800, "output": 10},
        False,
    ),
    "Gemini, thoughts beside and caches inside, by modality": (
        "google",
        {
            "promptTokenCount": 1500,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 300},
                {"modality": "IMAGE", "tokenCount": 258},
                {"modality": "DOCUMENT", "tokenCount": 516},
                {"modality": "AUDIO", "tokenCount": 226},
                {"modality": "VIDEO", "tokenCount": 200},
            ],
            "cachedContentTokenCount": 700,
            "cacheTokensDetails": [
                {"modality": "TEXT", "tokenCount": 100},
                {"modality": "DOCUMENT", "tokenCount": 500},
                {"modality": "VIDEO", "tokenCount": 100},
            ],
            "candidatesTokenCount": 50,
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 50}],
            "thoughtsTokenCount": 400,
            "totalTokenCount": 1950,
        },
        {
            "input": 200,
            "input_image": 274,
            "input_audio": 226,
            "input_video": 100,
            "cache_read": 100,
            "cache_read_image": 500,
            "cache_read_video": 100,
            "output": 50,
            "reasoning": 400,
        },
        False,
    ),
    "Gemini, tool use beside the prompt; text that no row names": (
        "vertex",
        {
            "promptTokenCount": 80,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 60}],
            "toolUsePromptTokenCount": 900,
            "toolUsePromptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 800},
                {"modality": "AUDIO", "tokenCount": 100},
            ],
            "candidatesTokenCount": 20,
            "totalTokenCount": 1000,
        },
        {"input": 880, "input_audio": 100, "output": 20},
        False,
    ),
    "Gemini draws": (
        "google",
        {
            "promptTokenCount": 12,
            "candidatesTokenCount": 1295,
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
            "totalTokenCount": 1307,
        },
        {"input": 12, "output": 5, "output_image": 1290},
        False,
    ),
    "Gemini, cached without a split beside images": (
        "google",
        {
            "promptTokenCount": 358,
            "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 258}],
            "cachedContentTokenCount": 120,
            "candidatesTokenCount": 5,
            "totalTokenCount": 363,
        },
        {"cache_read": 100, "cache_read_image": 20, "input_image": 238, "output": 5},
        True,
    ),
    "Gemini's Python client": (
        "google",
        {
            "prompt_token_count": 30,
            "cached_content_token_count": None,
            "candidates_token_count": 6,
            "thoughts_token_count": 14,
            "total_token_count": 50,
            "prompt_tokens_details": [{"modality": "TEXT", "token_count": 30}],
            "traffic_type": None,
        },
        {"input": 30, "output": 6, "reasoning": 14},
        False,
    ),
    "Gemini live": (
        "google",
        {
            "promptTokenCount": 400,
            "responseTokenCount": 90,
            "totalTokenCount": 490,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 390}],
            "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 90}],
        },
        {"input": 10, "input_audio": 390, "output_audio": 90},
        False,
    ),
    "Gemini's interactions": (
        "google",
        {
            "total_input_tokens": 70,
            "input_tokens_by_modality": [
                {"modality": "text", "tokens": 20},
                {"modality": "image", "tokens": 50},
            ],
            "total_cached_tokens": 0,
            "total_output_tokens": 30,
            "total_tool_use_tokens": 0,
            "total_thought_tokens": 11,
            "total_tokens": 111,
        },
        {"input": 20, "input_image": 50, "output": 30, "reasoning": 11},
        False,
    ),
    "Bedrock Converse": (
        "aws",
        {
            "inputTokens": 12,
            "outputTokens": 70,
            "totalTokens": 2082,
            "cacheReadInputTokens": 1000,
            "cacheReadInputTokenCount": 1000,
            "cacheWriteInputTokens": 1000,
            "cacheWriteInputTokenCount": 1000,
            "cacheDetails": [
                {"ttl": "1h", "inputTokens": 600},
                {"ttl": "5m", "inputTokens": 400},
            ],
            "serverToolUsage": {},
        },
        {
            "input": 12,
            "cache_read": 1000,
            "cache_write_5m": 400,
            "cache_write_1h": 600,
            "output": 70,
        },
        False,
    ),
    "Bedrock, Nova": (
        "bedrock",
        {
            "inputTokens": 12,
            "outputTokens": 7,
            "cacheReadInputTokenCount": 30,
            "cacheWriteInputTokenCount": 0,
        },
        {"input": 12, "cache_read": 30, "output": 7},
        False,
    ),
    "Bedrock, headers": (
        "bedrock",
        {
            "x-amzn-bedrock-input-token-count": "31",
            "x-amzn-bedrock-output-token-count": "8",
            "x-amzn-bedrock-invocation-latency": "512",
        },
        {"input": 31, "output": 8},
        False,
    ),
    "Bedrock, Llama": (
        "bedrock",
        {"generation": "…", "prompt_token_count": 31, "generation_token_count": 8},
        {"input": 31, "output": 8},
        False,
    ),
    "Cohere charges its billed units": (
        "cohere",
        {
            "billed_units": {"input_tokens": 17.0, "output_tokens": 12},
            "tokens": {"input_tokens": 215, "output_tokens": 14},
            "cached_tokens": 64,
        },
        {"input": 17, "output": 12},
        False,
    ),
    "Cohere without billed units": (
        "cohere",
        {"tokens": {"input_tokens": 215, "output_tokens": 14}, "cached_tokens": 64},
        {"input": 151, "cache_read": 64, "output": 14},
        True,
    ),
    "Cohere reranks": (
        "cohere",
        {"billed_units": {"search_units": 3}},
        {"rerank_searches": 3},
        False,
    ),
    "nothing was used": ("openai", {"prompt_tokens": 0, "completion_tokens": 0}, {}, False),
}


@pytest.mark.parametrize("name", USAGES)
def test_usage_object(name: str) -> None:
    provider, usage, quantities, estimated = USAGES[name]
    read = normalise_usage(provider, usage)
    assert (quantities, estimated) == (read.quantities, read.estimated)


#: Nothing in this object itself says that its reasoning is beside the output.
NEEDS_ITS_PROVIDER = "xAI without a total"


@pytest.mark.parametrize("name", sorted(USAGES.keys() - {NEEDS_ITS_PROVIDER}))
def test_the_shape_decides_where_the_provider_is_unknown(name: str) -> None:
    _, usage, quantities, _ = USAGES[name]
    assert quantities == normalise_usage("the house gateway", usage).quantities


#: (provider, body, expected)
BODIES: dict[str, tuple[str, dict[str, Any], Normalised]] = {
    "chat completion": (
        "openai",
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "gpt-x",
            "service_tier": "flex",
            "choices": [],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        },
        Normalised({"input": 3, "output": 4}, "gpt-x", "flex", "chatcmpl-1"),
    ),
    "response with searches": (
        "openai",
        {
            "id": "resp_1",
            "object": "response",
            "model": "gpt-x",
            "service_tier": "default",
            "output": [
                {"type": "web_search_call", "action": {"type": "search", "query": "a"}},
                {"type": "web_search_call", "action": {"type": "open_page"}},
                {"type": "file_search_call", "queries": ["a"]},
                {"type": "message", "content": []},
            ],
            "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
        },
        Normalised(
            {"input": 3, "output": 4, "web_searches": 1, "storage_searches": 1},
            "gpt-x",
            "standard",
            "resp_1",
        ),
    ),
    "response.completed": (
        "openai",
        {
            "type": "response.completed",
            "response": {
                "id": "resp_2",
                "model": "gpt-x",
                "service_tier": "priority",
                "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
            },
        },
        Normalised({"input": 3, "output": 4}, "gpt-x", "priority", "resp_2"),
    ),
    "images that do not split their output": (
        "openai",
        {
            "created": 1,
            "data": [{"b64_json": "…"}],
            "usage": {
                "input_tokens": 20,
                "input_tokens_details": {"text_tokens": 20, "image_tokens": 0},
                "output_tokens": 1056,
                "total_tokens": 1076,
            },
        },
        Normalised({"input": 20, "output_image": 1056}),
    ),
    "speech": (
        "openai",
        {
            "type": "speech.audio.done",
            "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115},
        },
        Normalised({"input": 14, "output_audio": 101}),
    ),
    "a line of OpenAI's batch": (
        "openai",
        {
            "id": "batch_req_1",
            "custom_id": "r-1",
            "response": {
                "status_code": 200,
                "request_id": "q",
                "body": {
                    "id": "chatcmpl-2",
                    "model": "gpt-x",
                    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
                },
            },
        },
        Normalised({"input": 3, "output": 4}, "gpt-x", "batch", "chatcmpl-2"),
    ),
    "message, fast": (
        "anthropic",
        {
            "id": "msg_1",
            "type": "message",
            "model": "claude-x",
            "usage": {
                "input_tokens": 3,
                "cache_read_input_tokens": 0,
                "output_tokens": 4,
                "service_tier": "standard",
                "speed": "fast",
            },
        },
        Normalised({"input": 3, "output": 4}, "claude-x", "fast", "msg_1"),
    ),
    "a line of Anthropic's batch": (
        "anthropic",
        {
            "custom_id": "r-1",
            "result": {
                "type": "succeeded",
                "message": {
                    "id": "msg_2",
                    "model": "claude-x",
                    "usage": {"input_tokens": 3, "output_tokens": 4, "service_tier": "batch"},
                },
            },
        },
        Normalised({"input": 3, "output": 4}, "claude-x", "batch", "msg_2"),
    ),
    "compaction is added, an adviser of another model stands apart": (
        "anthropic",
        {
            "id": "msg_3",
            "model": "claude-x",
            "usage": {
                "input_tokens": 200,
                "cache_read_input_tokens": 0,
                "output_tokens": 50,
                "iterations": [
                    {"type": "compaction", "input_tokens": 9000, "output_tokens": 300},
                    {"type": "message", "input_tokens": 200, "output_tokens": 50},
                    {
                        "type": "advisor_message",
                        "model": "claude-y",
                        "input_tokens": 70,
                        "output_tokens": 8,
                    },
                ],
            },
        },
        Normalised(
            {"input": 9200, "output": 350},
            "claude-x",
            "",
            "msg_3",
            also=(Normalised({"input": 70, "output": 8}, "claude-y"),),
        ),
    ),
    "Gemini on Vertex": (
        "google",
        {
            "responseId": "g-1",
            "modelVersion": "gemini-x",
            "candidates": [],
            "usageMetadata": {
                "promptTokenCount": 3,
                "candidatesTokenCount": 4,
                "totalTokenCount": 7,
                "trafficType": "ON_DEMAND_FLEX",
            },
        },
        Normalised({"input": 3, "output": 4}, "gemini-x", "flex", "g-1"),
    ),
    "Gemini says its tier": (
        "google",
        {
            "modelVersion": "gemini-x",
            "usageMetadata": {
                "promptTokenCount": 3,
                "candidatesTokenCount": 4,
                "totalTokenCount": 7,
                "serviceTier": "priority",
            },
        },
        Normalised({"input": 3, "output": 4}, "gemini-x", "priority"),
    ),
    "Converse through boto3": (
        "aws",
        {
            "ResponseMetadata": {"RequestId": "aws-1", "HTTPHeaders": {"date": "…"}},
            "output": {"message": {"role": "assistant", "content": []}},
            "usage": {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7},
            "serviceTier": {"type": "flex"},
        },
        Normalised({"input": 3, "output": 4}, "", "flex", "aws-1"),
    ),
    "InvokeModel through boto3: headers": (
        "aws",
        {
            "ResponseMetadata": {
                "RequestId": "aws-2",
                "HTTPHeaders": {
                    "x-amzn-bedrock-input-token-count": "3",
                    "x-amzn-bedrock-output-token-count": "4",
                },
            },
            "contentType": "application/json",
        },
        Normalised({"input": 3, "output": 4}, "", "", "aws-2"),
    ),
    "Titan": (
        "aws",
        {"inputTextTokenCount": 3, "results": [{"tokenCount": 4, "outputText": "…"}]},
        Normalised({"input": 3, "output": 4}),
    ),
    "a line of Bedrock's batch": (
        "aws",
        {
            "recordId": "1",
            "modelInput": {},
            "modelOutput": {
                "id": "msg_4",
                "model": "claude-x",
                "usage": {"input_tokens": 3, "output_tokens": 4},
            },
        },
        Normalised({"input": 3, "output": 4}, "claude-x", "batch", "msg_4"),
    ),
    "Cohere embeds": (
        "cohere",
        {
            "id": "c-1",
            "embeddings": {},
            "meta": {
                "api_version": {"version": "2"},
                "billed_units": {"input_tokens": 3, "image_tokens": 40},
            },
        },
        Normalised({"input": 3, "input_image": 40}, "", "", "c-1"),
    ),
    "Mistral annotates pages": (
        "mistral",
        {
            "model": "ocr-x",
            "pages": [],
            "document_annotation": "{}",
            "usage_info": {"pages_processed": 5, "doc_size_bytes": 1},
        },
        Normalised({"annotated_pages": 5}, "ocr-x"),
    ),
    "Ollama": (
        "ollama",
        {"model": "llama-x", "done": True, "prompt_eval_count": 3, "eval_count": 4},
        Normalised({"input": 3, "output": 4}, "llama-x"),
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_body(name: str) -> None:
    provider, body, expected = BODIES[name]
    assert expected == normalise_response(provider, body)
