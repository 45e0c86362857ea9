"""The examples of docs/sdk-clients.md, run as they stand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes.exporter import Exporter
from sdk.booked import Rig, exporter_in, rig

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sdk-clients.md"


def sections() -> dict[str, list[str]]:
    """The runnable Python of each section, by its heading."""
    found: dict[str, list[str]] = {}
    for part in re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```python run\n(.*?)^```", part, re.DOTALL | re.MULTILINE)
        if blocks:
            found[part.partition("\n")[0]] = blocks
    return found


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    with exporter_in(tmp_path_factory.mktemp("docs")) as one:
        yield one


@pytest.fixture
def on(
    exporter: Exporter, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rig]:
    """An environment as the page wants it; addresses and keys are given from outside."""
    with rig(exporter, request.node.name) as one:
        for name, text in {
            "OPENAI_BASE_URL": one.provider.url + "/v1",
            "OPENAI_API_KEY": "k",
            "ANTHROPIC_BASE_URL": one.provider.url,
            "ANTHROPIC_API_KEY": "k",
            "COSTMETER_URL": f"http://{exporter.address}",
            "COSTMETER_TENANT_ID": one.tenant_id,
        }.items():
            monkeypatch.setenv(name, text)
        yield one


def run(title: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in sections()[title]:
        exec(compile(block, f"{PAGE.name}: {title}", "exec"), names)
    return names


def end(names: dict[str, Any]) -> None:
    assert names["meter"].flush(10)
    names["meter"].close()
    with suppress(TypeError):  # an async one is closed by its own loop
        names["client"].close()


def test_all_examples_are_run_here() -> None:
    assert list(sections()) == ["OpenAI", "Anthropic", "FastAPI and Starlette"]


def test_openai(on: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    end(run("OpenAI"))
    assert capsys.readouterr().out == "1\n"
    (first,) = on.events()
    (second,) = on.events("acme")
    assert (first.feature, first.model, second.user_id) == ("answers", "gpt-4o-mini", "u1")


def test_anthropic(on: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    end(run("Anthropic"))
    assert capsys.readouterr().out == "Three words here\n1\n"
    (event,) = on.events()
    assert (event.feature, event.model, event.status) == ("summaries", "claude-sonnet-5", "ok")


def test_fastapi(on: Rig) -> None:
    names = run("FastAPI and Starlette")
    tenant = f"{on.tenant_id}-acme"

    async def ask() -> str:
        transport = httpx.ASGITransport(names["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as c:
            headers = {"x-tenant": tenant, "x-user": "u1"}
            answer = await c.get("/answers/hello", headers=headers)
        await names.pop("client").close()
        return str(answer.json())

    assert asyncio.run(ask()) == "Three words here"
    names["client"] = None
    with suppress(AttributeError):
        end(names)
    (event,) = on.events(tenant)
    assert (event.user_id, event.feature, event.model) == ("u1", "/answers/{question}", "gpt-5")
