"""Pages of servers that answer slowly, wrongly, too much or not to the end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from costmeter.gpu.serving.fetch import MOST_BYTES, TooSlow, Unanswered, fetch
from fakes.model_server import model_server

WANTED = ("tokens_total", "requests_total")
PAGE = b'# HELP tokens_total x\ntokens_total{a="1"} 424216\nother 7\nrequests_total 3\n'
KEPT = 'tokens_total{a="1"} 424216\nrequests_total 3'


@contextmanager
def wire(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that takes one connection, and writes what it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connected, _ = listening.accept()
            with connected:
                connected.settimeout(5)
                connected.recv(65_536)
                with suppress(OSError):
                    answer(connected)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/metrics"
        thread.join(10)
        assert not thread.is_alive()


def written(*pieces: bytes) -> Callable[[socket.socket], None]:
    return lambda connected: connected.sendall(b"".join(pieces))


def head(*fields: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", *fields, "", "")).encode()


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


@pytest.mark.parametrize(
    "pieces",
    [
        (head(f"Content-Length: {len(PAGE)}"), PAGE),
        (head("Transfer-Encoding: chunked"), chunk(PAGE[:40]), chunk(PAGE[40:]), chunk(b"")),
        (head(), PAGE),
        (head(f"Content-Length: {len(PAGE) - 1}"), PAGE[:-1]),
    ],
    ids=["length", "chunked", "until the end", "no last line feed"],
)
def test_a_whole_page_and_only_the_lines_that_are_wanted(pieces: tuple[bytes, ...]) -> None:
    with wire(written(*pieces)) as url:
        assert fetch(url, WANTED) == KEPT


@pytest.mark.parametrize(
    "pieces",
    [
        (head(f"Content-Length: {len(PAGE)}"), PAGE[:45]),
        (head(f"Content-Length: {len(PAGE)}"), PAGE[:-17]),
        (head("Transfer-Encoding: chunked"), chunk(PAGE)),
        (head("Transfer-Encoding: chunked"), chunk(PAGE)[:50]),
        (head(), PAGE[:45]),
        (b"SSH-2.0-OpenSSH_9.6\r\n",),
        (),
    ],
    ids=[
        "in a line", "between lines", "after a chunk", "in a chunk", "no length", "no HTTP",
        "nothing",
    ],
)  # fmt: skip
def test_a_page_that_ends_too_early_is_none(pieces: tuple[bytes, ...]) -> None:
    with wire(written(*pieces)) as url, pytest.raises(Unanswered):
        fetch(url, WANTED)


@pytest.mark.parametrize("start", [b"", head("Content-Length: 100000")], ids=["head", "body"])
def test_a_server_that_dribbles_is_left_after_the_time_for_it(start: bytes) -> None:
    def dribble(connected: socket.socket) -> None:
        connected.sendall(start)
        for _ in range(100):
            connected.sendall(b"H")
            time.sleep(0.05)

    began = time.monotonic()
    with wire(dribble) as url, pytest.raises(TooSlow, match=r"longer than 0\.3 seconds"):
        fetch(url, WANTED, timeout_seconds=0.3)
    assert time.monotonic() - began < 3


def test_a_server_that_says_nothing_is_left_after_the_time_for_it() -> None:
    heard = threading.Event()
    with wire(lambda _: bool(heard.wait(5)) and None) as url:
        with pytest.raises(TooSlow):
            fetch(url, WANTED, timeout_seconds=0.2)
        heard.set()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"status": 404}, "it answers with status 404"),
        ({"status": 302}, "it answers with status 302"),
        ({"text": f"{'x' * 999}\n" * (MOST_BYTES // 1_000 + 1)}, "its page is longer than 8 MiB"),
        ({"text": "x" * (2 << 20)}, "a line of its page is longer than 1 MiB"),
        ({"port": 1}, "it cannot be reached"),
    ],
)
def test_what_is_no_page_is_named(change: dict[str, object], says: str) -> None:
    with model_server() as vllm:
        for name, value in change.items():
            setattr(vllm, name, value)
        with pytest.raises(Unanswered, match=says):
            fetch(vllm.url, WANTED)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:99999/metrics", "http://[::1/metrics", "http://a:b/m", "http:///m"],
)
def test_an_address_that_is_none_is_no_other_server_s_trouble(url: str) -> None:
    with pytest.raises(Unanswered, match="cannot be reached"):
        fetch(url, WANTED)
