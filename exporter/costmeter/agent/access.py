"""Who may read the agent's pages, and who may make it reload."""

from __future__ import annotations

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from costmeter.agent.http import Response
from costmeter.agent.requests import Request

if TYPE_CHECKING:
    from costmeter.config.web_config import WebConfig

_NEEDED = Response(
    401,
    b"a user name and a password are needed (basic authentication)\n",
    headers=(("www-authenticate", 'Basic realm="costmeter", charset="UTF-8"'),),
)
_ELSEWHERE = Response(
    403, b"without a password only a program on this machine may do this: set basic_auth_users\n"
)


class Access:
    """The rules of one web configuration file; without one everybody may read."""

    def __init__(self, web: WebConfig | None) -> None:
        self._passwords = web if web is not None and web.needs_password else None
        # One thread: a flood of wrong passwords waits for itself, not for the agent.
        self._checks = ThreadPoolExecutor(1, "password") if self._passwords else None
        self.headers = tuple((k.lower(), v) for k, v in web.headers.items()) if web else ()

    def close(self) -> None:
        if self._checks is not None:
            self._checks.shutdown(wait=False)

    async def reader(self, request: Request) -> Response | None:
        """None lets a reader pass; otherwise the refusal."""
        return None if await self._known(request) else _NEEDED

    async def operator(self, request: Request) -> Response | None:
        """None lets somebody pass who may change how the process runs."""
        if "origin" in request.headers:
            return Response(403, b"web pages may not do this\n")
        if self._passwords is not None:
            return None if await self._known(request) else _NEEDED
        foreign = {"forwarded", "via", "x-forwarded-for", "x-real-ip"} & request.headers.keys()
        host = request.headers.get("host", "")
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        here = is_loopback(request.client) and is_loopback(name) and not foreign
        return None if here else _ELSEWHERE

    async def _known(self, request: Request) -> bool:
        if self._passwords is None or self._checks is None:
            return True
        kind, _, said = request.headers.get("authorization", "").strip().partition(" ")
        if kind.lower() != "basic":
            return False
        try:
            user, colon, password = base64.b64decode(said, validate=True).decode().partition(":")
        except ValueError:
            return False
        if not colon:
            return False
        if self._passwords.remembers(user, password):
            return True
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._checks, self._passwords.check, user, password)


def is_loopback(host: str) -> bool:
    import ipaddress  # late: only a reload asks

    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
