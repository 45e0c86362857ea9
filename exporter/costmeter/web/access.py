"""Who may do what. Every decision of authentication is made in this module.

Reading (metrics, pages) is guarded by the basic authentication of the web configuration
file. Writing takes Bearer tokens; without any token it is open to this machine alone.
Secrets are compared by their hashes, where they are kept, and never written to a log.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Protocol

from costmeter.ingest.owner import Caller
from costmeter.web.exchange import Problem, Request

#: The feed of events that come without a credential.
OPEN_FEED = "http"


class Token(Protocol):
    """A sender's credential; `tenant_id` is "" when it may book for any tenant."""

    @property
    def tenant_id(self) -> str: ...
    @property
    def feed(self) -> str: ...
    @property
    def may_write(self) -> bool: ...
    @property
    def may_read(self) -> bool: ...


class Tokens(Protocol):
    def find(self, bearer: str) -> Token | None:
        """The token with this secret, compared by hash."""
        ...


class Passwords(Protocol):
    @property
    def needs_password(self) -> bool: ...
    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that the configuration adds to every answer."""
        ...

    def remembers(self, user: str, password: str) -> bool:
        """True when this password was found right before; quick."""
        ...

    def check(self, user: str, password: str) -> bool:
        """True when the password is right; slow, so it is called in a thread."""
        ...


class Access:
    """The rules for one configuration; a reload makes a new one.

    `listen_host` is the configured address, "" for every interface.
    """

    def __init__(
        self, *, listen_host: str, tokens: Tokens | None = None, web: Passwords | None = None
    ) -> None:
        self._open_to_loopback = tokens is None and is_loopback(listen_host)
        self._tokens = tokens
        self._passwords = web if web is not None and web.needs_password else None
        # One thread: a flood of wrong passwords waits for itself, not for the server.
        self._checks = ThreadPoolExecutor(1, "password")
        self.headers = tuple((k.lower(), v) for k, v in web.headers.items()) if web else ()

    @property
    def takes_tokens(self) -> bool:
        return self._tokens is not None

    @property
    def asks_password(self) -> bool:
        return self._passwords is not None

    def close(self) -> None:
        """Give back the thread; called when a reload replaced this or the server stopped."""
        self._checks.shutdown(wait=False)

    async def reader(self, request: Request) -> None:
        """Let a reader pass, or raise Problem 401."""
        if not await self.may_read(request):
            raise _password_needed()

    async def may_read(self, request: Request) -> bool:
        """True for a right password, or a token that may read and is bound to no tenant."""
        if self._passwords is None:
            return True
        bearer = _credential(request, "bearer")
        if bearer is not None:
            token = self._tokens.find(bearer) if self._tokens is not None else None
            return token is not None and token.may_read and not token.tenant_id
        return await self._right_password(request, self._passwords)

    async def _right_password(self, request: Request, passwords: Passwords) -> bool:
        said = _credential(request, "basic")
        if said is None:
            return False
        try:
            user, colon, password = base64.b64decode(said, validate=True).decode().partition(":")
        except ValueError:
            return False
        if not colon:
            return False
        if passwords.remembers(user, password):
            return True
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._checks, passwords.check, user, password)

    def writer(self, request: Request) -> Caller:
        """Who writes; raises Problem 401 for a missing or wrong token and 403 otherwise."""
        if self._tokens is None:
            self._this_machine(request, "send usage")
            return Caller(OPEN_FEED)
        bearer = _credential(request, "bearer")
        token = self._tokens.find(bearer) if bearer else None
        if token is None:
            said = "is not known" if bearer else "is missing"
            raise Problem(
                401,
                f"the token {said}; send it as 'Authorization: Bearer TOKEN'",
                headers=(("www-authenticate", 'Bearer realm="costmeter"'),),
            )
        if not token.may_write:
            raise Problem(403, "this token may only read; send with one that has 'write'")
        return Caller(token.feed, token.tenant_id or None)

    async def operator(self, request: Request) -> None:
        """Let somebody pass who may change how the process runs; raises Problem 401 or 403."""
        if self._passwords is None:
            self._this_machine(request, "do this", tokens_help=False)
            return
        _refuse_browsers(request)
        if not await self._right_password(request, self._passwords):
            raise _password_needed()

    def _this_machine(self, request: Request, what: str, *, tokens_help: bool = True) -> None:
        """Without a credential only a program on this machine may write.

        A browser on this machine acts for any web site it shows, and a proxy for anybody:
        so a foreign Host (DNS rebinding), an Origin or a forwarding header is refused.
        """
        way_out = "set ingest.tokens_file" if tokens_help else "set basic_auth_users"
        client = request.scope.get("client")
        here = client is not None and is_loopback(str(client[0]))
        if not here or (tokens_help and not self._open_to_loopback):
            raise Problem(
                403,
                f"without credentials only this machine may {what}, and only while the server "
                f"listens on a loopback address; to allow others, {way_out}",
            )
        _refuse_browsers(request)
        for name in ("forwarded", "via", "x-forwarded-for", "x-real-ip"):
            if request.header(name) is not None:
                raise Problem(403, f"this came through a proxy ({name}); {way_out}")
        host = _host_name(request.header("host") or "")
        if not is_loopback(host):
            raise Problem(
                403, f"the Host header must name this machine, like localhost; or {way_out}"
            )


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """True for localhost and for the loopback addresses of both IP versions."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _password_needed() -> Problem:
    return Problem(
        401,
        "a user name and a password are needed (basic authentication)",
        headers=(("www-authenticate", 'Basic realm="costmeter", charset="UTF-8"'),),
    )


def _refuse_browsers(request: Request) -> None:
    if request.header("origin") is not None:
        raise Problem(403, "web pages may not do this: the request carries an Origin header")


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _credential(request: Request, scheme: str) -> str | None:
    said = request.header("authorization")
    if said is None:
        return None
    kind, _, credential = said.strip().partition(" ")
    return credential.strip() if kind.lower() == scheme else None
