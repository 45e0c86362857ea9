"""Pages of model servers, as each writes them."""

from __future__ import annotations

import pytest

from costmeter.gpu.serving.engines import Counts, UnknownPage, read_page

VLLM = """\
# HELP vllm:iteration_tokens_total Histogram of number of tokens per engine_step.
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="m"} 99.0
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="meta/llama-3.3-70b"} 4.2421665e+07
vllm:prompt_tokens_total{engine="1",model_name="meta/llama-3.3-70b"} 335.0
vllm:prompt_tokens_created{engine="0",model_name="meta/llama-3.3-70b"} 1.79e+09
vllm:prompt_tokens_cached_total{engine="0",model_name="meta/llama-3.3-70b"} 7.0
vllm:generation_tokens_total{engine="0",model_name="meta/llama-3.3-70b"} 500.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="meta/llama-3.3-70b"} 63.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="meta/llama-3.3-70b"} 2.0
"""
SGLANG = """\
sglang:prompt_tokens_total{model_name="qwen",tp_rank="0",pp_rank="0",dp_rank="0"} 300
sglang:prompt_tokens_total{model_name="qwen",tp_rank="0",pp_rank="0",dp_rank="1"} 480
sglang:prompt_tokens_total{model_name="qwen",tp_rank="1",pp_rank="0",dp_rank="0"} 300
sglang:generation_tokens_total{is_streaming="true",model_name="qwen",tp_rank="0"} 20
sglang:generation_tokens_total{is_streaming="false",model_name="qwen",tp_rank="0"} 30
sglang:num_requests_total{model_name="qwen"} 12
"""
TGI = """\
tgi_request_input_length_bucket{le="1"} 0
tgi_request_input_length_sum 1200
tgi_request_input_length_count 10
tgi_request_generated_tokens_sum 50000
tgi_request_success{method="batch"} 9
"""
LLAMACPP = "llamacpp:prompt_tokens_total 12\nllamacpp:tokens_predicted_total 42\n"
OLLAMA = """\
ollama_prompt_tokens_total{model="llama3"} 10
ollama_completion_tokens_total{model="llama3"} 20
ollama_requests_total{endpoint="/api/chat",model="llama3"} 1
ollama_requests_total{endpoint="/api/generate",model="llama3"} 2
"""
#: The spelling of another family of proxies.
OLLAMA_TOO = """\
ollama_tokens_processed_total{api="openai",model="phi4",type="stream"} 100
ollama_tokens_processed_total{api="ollama",model="phi4",type="non_stream"} 30
ollama_tokens_generated_total{api="openai",model="phi4",type="stream"} 7
ollama_requests_total{api="openai",model="phi4",type="stream"} 2
"""


@pytest.mark.parametrize(
    ("text", "engine", "models"),
    [
        (VLLM, "vllm", {"meta/llama-3.3-70b": Counts(42_422_000, 500, 65)}),
        (SGLANG, "sglang", {"qwen": Counts(780, 50, 12)}),
        (TGI, "tgi", {"": Counts(1_200, 50_000, 9)}),
        (LLAMACPP, "llamacpp", {"": Counts(12, 42, None)}),
        (OLLAMA, "ollama", {"llama3": Counts(10, 20, 3)}),
        (OLLAMA_TOO, "ollama", {"phi4": Counts(130, 7, 2)}),
    ],
)
def test_each_server_is_recognised(text: str, engine: str, models: dict[str, Counts]) -> None:
    assert read_page(text) == (engine, models)
    assert read_page(text, engine) == (engine, models)


@pytest.mark.parametrize("text", ["", "<html></html>", "go_goroutines 7\n", VLLM])
def test_a_page_without_the_counters_says_what_was_looked_for(text: str) -> None:
    with pytest.raises(UnknownPage, match="token counters of tgi"):
        read_page(text, "tgi")


def test_what_is_no_count_is_passed_over() -> None:
    text = (
        'llamacpp:prompt_tokens_total NaN\nllamacpp:prompt_tokens_total{a="x} y"} 5\n'
        "llamacpp:tokens_predicted_total -1\nllamacpp:tokens_predicted_total 1e300\n"
        'llamacpp:prompt_tokens_total{broken="\nllamacpp:prompt_tokens_total 4 1795412289186\n'
    )
    assert read_page(text).models == {"": Counts(9, 0)}


def test_names_with_quotes_and_braces() -> None:
    text = r'vllm:prompt_tokens_total{model_name="a\"b\\c{d},e"} 3'
    assert read_page(text).models == {'a"b\\c{d},e': Counts(3, 0)}
