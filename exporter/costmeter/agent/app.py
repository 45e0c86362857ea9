"""Which path of the agent answers what. Nothing here waits for a GPU, a disk or a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol
from urllib.parse import parse_qs

from costmeter.agent.access import Access
from costmeter.agent.http import Response
from costmeter.agent.landing import landing_page
from costmeter.agent.page import Page, Sample, answer
from costmeter.agent.requests import Request


class Shown(Protocol):
    """What the pages are made of, from memory."""

    def samples(self) -> Iterable[Sample]: ...
    def facts(self) -> Sequence[str]: ...
    def unready(self) -> Sequence[str]:
        """Why the agent is not ready; empty when it is."""
        ...


class Application:
    """`access` may be replaced while it runs; `reload` returns "" or what is wrong."""

    def __init__(
        self, shown: Shown, node: str, access: Access, reload: Callable[[], Awaitable[str]]
    ) -> None:
        self.access = access
        self._shown = shown
        self._node = node
        self._reload = reload
        self._page = Page()

    async def __call__(self, request: Request) -> Response:
        path, method = request.path, request.method
        if path == "/-/reload":
            return await self._reloaded(request)
        if path not in ("/", "/metrics", "/-/healthy", "/-/ready"):
            return Response(404, b"nothing is here; the landing page at / lists what is\n")
        if method not in ("GET", "HEAD"):
            return _not_allowed("GET, HEAD")
        if path == "/-/healthy":
            return Response(200, b"healthy\n")
        if path == "/-/ready":
            reasons = self._shown.unready()
            said = "\n".join(["not ready", *reasons, ""]) if reasons else "ready\n"
            return Response(503 if reasons else 200, said.encode())
        if (refusal := await self.access.reader(request)) is not None:
            return refusal
        if path == "/":
            return landing_page(self._node, self._shown.facts())
        return self._metrics(request)

    def _metrics(self, request: Request) -> Response:
        try:
            names = parse_qs(request.query, max_num_fields=1000).get("name[]", [])
        except ValueError:
            return Response(400, b"too many fields in the query\n")
        headers = request.headers
        body, kind, added = answer(
            self._page,
            self._shown.samples(),
            headers.get("accept", ""),
            headers.get("accept-encoding", ""),
            names,
        )
        return Response(200, body, kind, added)

    async def _reloaded(self, request: Request) -> Response:
        if request.method not in ("POST", "PUT"):
            return _not_allowed("POST, PUT")
        if (refusal := await self.access.operator(request)) is not None:
            return refusal
        wrong = await self._reload()
        if wrong:
            return Response(500, f"the old configuration stays in force: {wrong}\n".encode())
        return Response(200, b"reloaded\n")


def _not_allowed(methods: str) -> Response:
    return Response(405, f"use {methods} here\n".encode(), headers=(("allow", methods),))
