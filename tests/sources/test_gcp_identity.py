"""Who asks Google Cloud: service accounts in files, and where nobody is named."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from costmeter.sources.allowance import Allowance
from costmeter.sources.contract import Desk, Settings, SourceError
from costmeter.sources.gcp_bigquery import SCOPE, session_of
from costmeter.sources.gcp_client import Identity, endpoint_of, needs
from costmeter.sources.gcp_errors import hidden
from costmeter.sources.options import Options
from costmeter.sources.secret import Secret
from fakes.clock import FakeClock
from fakes.reports import Query, Reports, serving

CLOUD = endpoint_of("", "bigquery.googleapis.com")


class Tokens(Reports):
    """Google's token endpoint, and something behind it that wants the token."""

    given = 0

    def allowed(self, headers: Any) -> bool:
        return True

    def posted(self, path: str, query: Query, body: bytes) -> Any:
        self.given += 1
        expires = int(time.time()) + 3_600
        return {"access_token": f"token-{self.given}", "expires_in": 3_600, "expiry": expires}

    def route(self, path: str, query: Query) -> Any:
        return {"seen": self.asked[-1].headers.get("authorization", "")}


def service_account(path: Path, token_uri: str, name: str = "costmeter") -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "acme-prod",
                "private_key_id": "k1",
                "private_key": pem,
                "client_email": f"{name}@acme-prod.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": token_uri,
            }
        )
    )
    return pem


def identity(path: Path) -> Identity:
    settings = Settings("gcp", Secret(), options={"credentials_file": str(path)})
    return Identity(settings, Options(settings.options), CLOUD)


def test_a_service_account_gets_a_token_and_each_call_carries_it(tmp_path: Path) -> None:
    path = tmp_path / "sa.json"
    allowance = Allowance()
    desk = Desk(FakeClock(), allowance, lambda _: False)
    with serving(Tokens()) as tokens:
        pem = service_account(path, f"{tokens.url}/token")
        who = identity(path)
        session = session_of(who, desk)
        answer = session.request("GET", f"{tokens.url}/here")
        assert answer.json() == {"seen": "Bearer token-1"}
        session.request("GET", f"{tokens.url}/here")
        session.close()
    assert (allowance.calls, allowance.nano) == (2, 0)  # the token itself is no call
    for text in (repr(who), str(vars(who))):
        assert pem[40:80] not in text


def test_a_key_that_is_changed_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "sa.json"
    service_account(path, "https://oauth2.googleapis.com/token")
    who = identity(path)
    first, mark = who.credentials(SCOPE)
    assert who.credentials(SCOPE) == (first, mark)
    service_account(path, "https://oauth2.googleapis.com/token", "another")
    second, other = who.credentials(SCOPE)
    assert other != mark
    assert second.service_account_email.startswith("another@")


def test_default_credentials_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    who = Identity(Settings("gcp", Secret()), Options({}), CLOUD)
    with pytest.raises(SourceError, match=r"default credentials: .* was not found") as caught:
        who.credentials(SCOPE)
    assert caught.value.reason == "credentials"


@pytest.mark.parametrize(
    ("url", "address", "secure"),
    [
        ("", "bigquery.googleapis.com:443", True),
        ("https://bigquery.eu.rep.googleapis.com", "bigquery.eu.rep.googleapis.com:443", True),
        ("http://127.0.0.1:8080/", "127.0.0.1:8080", False),
        ("http://[::1]:8080", "[::1]:8080", False),
    ],
)
def test_where_it_is_asked(url: str, address: str, secure: bool) -> None:
    found = endpoint_of(url, "bigquery.googleapis.com")
    assert (found.address, found.secure) == (address, secure)


@pytest.mark.parametrize("url", ["ftp://x", "https://host/path", "http://10.0.0.1"])
def test_where_it_is_not_asked(url: str) -> None:
    with pytest.raises(ValueError, match="write"):
        endpoint_of(url, "bigquery.googleapis.com")


def test_a_missing_package_is_named_with_its_extra() -> None:
    with pytest.raises(ValueError, match=r"needs google\.cloud\.nothing; .*costmeter\[gcp\]"):
        needs("google.cloud.nothing")
    with pytest.raises(ValueError, match="needs nothing"):
        needs("nothing.at.all")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("bad token ya29.a0AfH6SMBx-1_2", "bad token <hidden>"),
        ("key AIzaSyD-1234567890abcdefghij", "key <hidden>"),
        ("assertion eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln", "assertion <hidden>"),
        ("secret MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw", "secret <hidden>"),
    ],
)
def test_what_could_be_a_key_is_hidden(said: str, shown: str) -> None:
    assert hidden(said) == shown


def test_names_of_resources_are_not() -> None:
    said = "Permission monitoring.timeSeries.list denied on projects/acme-production-platform-1234"
    assert hidden(said) == said
