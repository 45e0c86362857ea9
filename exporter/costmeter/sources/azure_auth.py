"""Azure Resource Manager, with a token for it: from a secret, a federated token or the machine.

Shapes: Microsoft's identity platform, OAuth 2.0 client credentials (v2.0 endpoint, a secret
or a client assertion), and the token endpoints of Azure's instance metadata and of App Service.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from costmeter.sources.contract import Desk, Settings, SourceError
from costmeter.sources.http import Api, Query
from costmeter.sources.options import Options
from costmeter.sources.pages import MOST_PAGES, refuse_repeated
from costmeter.sources.reading import Row, count, malformed
from costmeter.sources.secret import Secret, SecretError

AUTHS = ("secret", "federated", "managed")
_METADATA = "http://169.254.169.254"
_METADATA_VERSION = "2018-02-01"
_APP_VERSION = "2019-08-01"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: A token is not used in the last minutes of its life, because clocks differ.
_MARGIN_MS = 300_000
_LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class _Cloud(NamedTuple):
    manager: str
    login: str


CLOUDS: Mapping[str, _Cloud] = {
    "public": _Cloud("https://management.azure.com", "https://login.microsoftonline.com"),
    "usgov": _Cloud("https://management.usgovcloudapi.net", "https://login.microsoftonline.us"),
    "china": _Cloud(
        "https://management.chinacloudapi.cn", "https://login.partner.microsoftonline.cn"
    ),
}


class Token:
    """An access token: kept until shortly before it expires, shown to requests alone."""

    __slots__ = ("_ask", "_text", "_until_ms")

    def __init__(self, ask: Callable[[Desk], Row]) -> None:
        self._ask = ask
        self._text = ""
        self._until_ms = 0

    def refresh(self, desk: Desk) -> None:
        """Get another one where this one is about to expire; raises SourceError."""
        now_ms = desk.clock.now_ms()
        if self._text and now_ms < self._until_ms - _MARGIN_MS:
            return
        self.forget()
        try:
            said = self._ask(desk)
        except SourceError as error:
            if error.reason != "request":
                raise
            # Whoever gives tokens says 400 to a wrong secret, a wrong client and no identity.
            raise SourceError("credentials", f"no token: {error}") from None
        token = said.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            token = ""
        if not token:
            raise malformed("access_token", "expected a token")
        if said.get("expires_in") is not None:
            self._until_ms = now_ms + count(said, "expires_in") * 1000
        else:
            self._until_ms = count(said, "expires_on") * 1000
        self._text = token

    def forget(self) -> None:
        self._text, self._until_ms = "", 0

    @property
    def named(self) -> bool:
        return True

    def read(self) -> str:
        if not self._text:
            raise SecretError("there is no token yet")
        return self._text

    def __repr__(self) -> str:
        return "Token(<hidden>)"

    def __reduce__(self) -> str:
        raise TypeError("a token is not to be written anywhere")


class Manager:
    """Azure Resource Manager: questions under a token that is renewed as needed."""

    def __init__(
        self, settings: Settings, options: Options, headers: Mapping[str, str] | None = None
    ) -> None:
        """Takes auth, directory, client, cloud and login_url from the options.

        Raises ValueError for what does not go together.
        """
        cloud = CLOUDS[options.word("cloud", "public", CLOUDS)]
        self._token = Token(_asker(settings, options, cloud))
        base_url = settings.base_url or cloud.manager
        _encrypted(base_url, "base_url")
        self._path = urlsplit(base_url).path.rstrip("/")
        self._api = Api(
            base_url, self._token, headers=headers, timeout_seconds=settings.timeout_seconds
        )

    def get(self, desk: Desk, path: str, query: Query = ()) -> Row:
        return self._under_token(desk, lambda: self._api.get(desk, path, query))

    def post(self, desk: Desk, path: str, query: Query, body: Mapping[str, object]) -> Row:
        return self._under_token(desk, lambda: self._api.post(desk, path, query, body))

    def follow(
        self,
        ask: Callable[[str, Query], Row],
        path: str,
        query: Query,
        link: Callable[[Row], object],
        data: Callable[[Row], object],
    ) -> Iterator[Row]:
        """Every page of a list whose answers link to the next one; raises SourceError.

        Of a link only the path and the query are taken: the token goes to no other host.
        A page that came before would count twice, and ends it with an error.
        """
        links: set[str] = set()
        seen: set[bytes] = set()
        for _ in range(MOST_PAGES):
            page = ask(path, query)
            refuse_repeated(seen, {"data": data(page)})
            yield page
            following = link(page)
            if not following:
                return
            if not isinstance(following, str):
                raise malformed("nextLink", "expected a link")
            if following in links:
                raise SourceError("repeated_page", "a page names one as the next that was read")
            links.add(following)
            parts = urlsplit(following)
            path = unquote(parts.path).removeprefix(self._path)
            query = parse_qsl(parts.query, keep_blank_values=True)
            if not path.startswith("/"):
                raise malformed("nextLink", "expected a link")
        raise SourceError("repeated_page", f"no end after {MOST_PAGES} pages")

    def _under_token(self, desk: Desk, ask: Callable[[], Row]) -> Row:
        self._token.refresh(desk)
        try:
            return ask()
        except SourceError as error:
            if error.reason == "credentials":
                # It may have been withdrawn, or say roles that were given since: ask anew.
                self._token.forget()
            raise


def _asker(settings: Settings, options: Options, cloud: _Cloud) -> Callable[[Desk], Row]:
    """How a token is asked for."""
    secret = settings.secret
    auth = options.word("auth", "secret" if secret.named else "managed", AUTHS)
    directory, client = options.word("directory", ""), options.word("client", "")
    login_url = options.word("login_url", _METADATA if auth == "managed" else cloud.login)
    if client and not _ID.fullmatch(client):
        raise ValueError(f"option client={client} is no id of an application")
    if auth == "managed":
        if secret.named:
            raise ValueError("auth=managed takes no key; drop key_file and key_variable")
        query = [("resource", f"{cloud.manager}/")] + ([("client_id", client)] if client else [])
        return _managed(settings.timeout_seconds, login_url, query)
    if not secret.named:
        what = "the client's secret" if auth == "secret" else "the federated token"
        raise ValueError(f"auth={auth} needs {what}; write key_file")
    if not _ID.fullmatch(directory) or not client:
        raise ValueError(
            "names no application; write the options directory=<tenant id of Entra> and "
            "client=<application id>"
        )
    _encrypted(login_url, "login_url")
    login = Api(login_url, Secret(), timeout_seconds=settings.timeout_seconds)
    return lambda desk: login.form(
        desk, f"/{directory}/oauth2/v2.0/token", _fields(auth, client, secret, cloud)
    )


def _managed(timeout_seconds: float, url: str, query: Query) -> Callable[[Desk], Row]:
    """From the machine; App Service and Container Apps have an address and a header of theirs."""
    app = os.environ.get("IDENTITY_ENDPOINT", "")
    if url == _METADATA and app and os.environ.get("IDENTITY_HEADER"):
        header = Secret(variable="IDENTITY_HEADER")
        service = Api(app, header, auth=("X-IDENTITY-HEADER", ""), timeout_seconds=timeout_seconds)
        return lambda desk: service.get(desk, "", [("api-version", _APP_VERSION), *query])
    machine = Api(url, Secret(), headers={"Metadata": "true"}, timeout_seconds=timeout_seconds)
    path = "/metadata/identity/oauth2/token"
    return lambda desk: machine.get(desk, path, [("api-version", _METADATA_VERSION), *query])


def _fields(auth: str, client: str, secret: Secret, cloud: _Cloud) -> list[tuple[str, str]]:
    try:
        proof = secret.read()
    except SecretError as error:
        raise SourceError("credentials", str(error)) from None
    fields = [
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("scope", f"{cloud.manager}/.default"),
    ]
    if auth == "secret":
        return [*fields, ("client_secret", proof)]
    return [*fields, ("client_assertion_type", _ASSERTION), ("client_assertion", proof)]


def _encrypted(url: str, name: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in _LOCAL:
        raise ValueError(f"{name} would send credentials in the clear; write https://")


def subscriptions_of(options: Options) -> tuple[str, ...]:
    """Ids from the option `subscriptions`, with '+' between them."""
    said = options.word("subscriptions", "")
    found = tuple(dict.fromkeys(part.lower() for part in said.split("+") if part))
    wrong = next((part for part in found if not _ID.fullmatch(part)), None)
    if wrong is not None:
        raise ValueError(f"option subscriptions names {wrong!r}, which is no id")
    return found
