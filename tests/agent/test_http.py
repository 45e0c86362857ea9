"""The agent's own HTTP server: what it takes, what it refuses, and how long it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from costmeter.agent import http
from costmeter.agent.http import HttpServer, Response
from costmeter.agent.listening import CannotListen
from costmeter.agent.requests import Request

Talk = Callable[[HttpServer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def talk(conversation: Talk, answer: Response | None = None) -> list[Request]:
    """Serve on a free port, run the conversation, and return the requests that came through."""
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        if request.path == "/broken":
            raise RuntimeError("inside")
        return answer or Response(200, f"{request.path}\n".encode())

    async def run() -> None:
        server = HttpServer(handler, host="127.0.0.1", port=0)
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            async with asyncio.timeout(10):
                await conversation(server, reader, writer)
        finally:
            writer.close()
            await server.stop(0.5)

    asyncio.run(run())
    return seen


async def everything(reader: asyncio.StreamReader) -> str:
    return (await reader.read()).decode()


def refused(sent: bytes) -> str:
    said: list[str] = []

    async def conversation(
        _: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(sent)
        said.append(await everything(reader))

    assert talk(conversation) == []
    assert "connection: close" in said[0]
    return said[0].partition("\r\n")[0]


def test_requests_on_one_connection_are_answered_in_order_however_they_arrive() -> None:
    async def conversation(
        _: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        sent = b"GET /a?x=1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /b%20c HTTP/1.1\r\n"
        sent += b"Content-Length: 3\r\n\r\nabcGET http://h/d HTTP/1.1\r\nConnection: close\r\n\r\n"
        for start in range(0, len(sent), 7):
            writer.write(sent[start : start + 7])
            await writer.drain()
        text = await everything(reader)
        assert text.count("HTTP/1.1 200 OK") == 3
        assert [text.index(word) for word in ("\n/a\n", "\n/b c\n", "\n/d\n")] == sorted(
            text.index(word) for word in ("\n/a\n", "\n/b c\n", "\n/d\n")
        )

    seen = talk(conversation)
    assert [(one.method, one.path, one.query) for one in seen] == [
        ("GET", "/a", "x=1"),
        ("POST", "/b c", ""),
        ("GET", "/d", ""),
    ]
    assert seen[0].headers["host"] == "h"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", "400 Bad Request"),
        (b"GET / HTTP/2.0\r\n\r\n", "505 HTTP Version Not Supported"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "400 Bad Request"),
        (b"GET / HTTP/1.1\r\nName : x\r\n\r\n", "400 Bad Request"),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400 Bad Request"),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400 Bad Request"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "413 Content Too Large"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "501 Not Implemented"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, "431 Request Header Fields Too Large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_request_is_refused_and_the_connection_ends(sent: bytes, status: str) -> None:
    assert refused(sent) == f"HTTP/1.1 {status}"


def test_a_slow_request_and_an_idle_connection_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.05)
    monkeypatch.setattr(http, "IDLE_SECONDS", 0.05)
    assert refused(b"GET / HT") == "HTTP/1.1 408 Request Timeout"

    async def conversation(
        _: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"GET /a HTTP/1.1\r\n\r\n")
        assert (await everything(reader)).endswith("\r\n\r\n/a\n")

    assert len(talk(conversation)) == 1


def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WRITE_SECONDS", 0.05)

    async def conversation(
        server: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"GET /a HTTP/1.1\r\n\r\n")
        for _ in range(200):
            await asyncio.sleep(0.01)
            if not server.connections:
                return
        raise AssertionError("the connection is still open")

    talk(conversation, Response(200, b"x" * 50_000_000))


def test_a_fault_inside_is_a_plain_answer_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def conversation(
        _: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"GET /broken HTTP/1.0\r\n\r\n")
        text = await everything(reader)
        assert text.startswith("HTTP/1.1 500 ")
        assert "inside" not in text

    talk(conversation)
    assert "inside" in caplog.text


def test_more_connections_than_there_is_room_for_are_turned_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 1)

    async def conversation(
        server: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"GET /a HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"/a\n")
        second, other = await asyncio.open_connection("127.0.0.1", server.port)
        assert (await everything(second)).startswith("HTTP/1.1 503 ")
        other.close()

    talk(conversation)


def test_an_address_in_use_is_said_in_words() -> None:
    async def conversation(
        server: HttpServer, _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        second = HttpServer(server.handler, host="127.0.0.1", port=server.port)
        with pytest.raises(CannotListen, match="another program uses it"):
            await second.start()

    talk(conversation)
