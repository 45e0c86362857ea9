"""Tokens for Azure: each way to one, how long it is kept, and that nobody sees it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from costmeter.sources.allowance import Allowance
from costmeter.sources.azure_auth import Manager
from costmeter.sources.contract import Desk, Settings, SourceError
from costmeter.sources.options import Options
from costmeter.sources.secret import Secret
from fakes.azure import CLIENT, DIRECTORY, SUBSCRIPTION, AzureMonitor
from fakes.clock import FakeClock
from fakes.reports import Fault, serving
from sources.rig import NOW

LIST = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.CognitiveServices/accounts"
VERSION = [("api-version", "2023-05-01")]
APPLICATION = {"directory": DIRECTORY, "client": CLIENT}


@pytest.fixture
def fake() -> Iterator[AzureMonitor]:
    served = AzureMonitor()
    with serving(served):
        yield served


@pytest.fixture
def desk() -> Desk:
    return Desk(FakeClock(NOW * 1000), Allowance(), lambda _: False)


def manager(fake: AzureMonitor, secret: Secret | None = None, **options: str) -> Manager:
    named = Secret(variable="KEY", environ={"KEY": fake.key}) if secret is None else secret
    given = {"login_url": fake.url, **options}
    return Manager(Settings("azure", named, base_url=fake.url), Options(given))


def ask(asked: Manager, desk: Desk) -> None:
    assert asked.get(desk, LIST, VERSION) == {"value": []}


def test_a_clients_secret(fake: AzureMonitor, desk: Desk) -> None:
    ask(manager(fake, **APPLICATION), desk)
    login, listed = fake.asked
    assert login.path == f"/{DIRECTORY}/oauth2/v2.0/token"
    assert "authorization" not in login.headers
    assert fake.forms == [
        {
            "grant_type": ["client_credentials"],
            "client_id": [CLIENT],
            "client_secret": [fake.key],
            "scope": ["https://management.azure.com/.default"],
        }
    ]
    assert listed.headers["authorization"] == "Bearer token-1"
    assert desk.allowance.calls == 2


def test_a_federated_token_is_read_anew(fake: AzureMonitor, desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "azure-identity-token"
    path.write_text(fake.key)
    asked = manager(fake, Secret(path), auth="federated", **APPLICATION)
    ask(asked, desk)
    (form,) = fake.forms
    assert form["client_assertion"] == [fake.key]
    assert form["client_assertion_type"] == [
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    ]
    assert "client_secret" not in form
    fake.key = "header.another.signature"
    path.write_text(fake.key)
    assert isinstance(desk.clock, FakeClock)
    desk.clock.advance(hours=1)
    ask(asked, desk)


@pytest.mark.parametrize("client", ["", CLIENT])
def test_the_identity_of_the_machine(fake: AzureMonitor, desk: Desk, client: str) -> None:
    options = {"client": client} if client else {}
    ask(manager(fake, Secret(), **options), desk)
    login = fake.asked[0]
    assert login.path == "/metadata/identity/oauth2/token"
    assert login.query == {
        "api-version": ["2018-02-01"],
        "resource": ["https://management.azure.com/"],
        **({"client_id": [client]} if client else {}),
    }


def test_the_identity_of_an_app(
    fake: AzureMonitor, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{fake.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", fake.key)
    plain = Manager(Settings("azure", Secret(), base_url=fake.url), Options({"client": CLIENT}))
    ask(plain, desk)
    assert fake.asked[0].path == "/msi/token"
    assert fake.asked[0].query == {
        "api-version": ["2019-08-01"],
        "resource": ["https://management.azure.com/"],
        "client_id": [CLIENT],
    }


def test_another_cloud(fake: AzureMonitor, desk: Desk) -> None:
    ask(manager(fake, cloud="usgov", **APPLICATION), desk)
    assert fake.forms[0]["scope"] == ["https://management.usgovcloudapi.net/.default"]


def test_a_token_is_kept_until_shortly_before_it_expires(fake: AzureMonitor, desk: Desk) -> None:
    asked = manager(fake, **APPLICATION)
    assert isinstance(desk.clock, FakeClock)
    for seconds, tokens in ((0, 1), (3_298, 1), (2, 2), (3_000, 2), (600, 3)):
        desk.clock.advance(seconds)
        ask(asked, desk)
        assert fake.tokens == tokens


def test_a_machine_may_say_when_instead_of_how_long(fake: AzureMonitor, desk: Desk) -> None:
    said = {"access_token": "token-1", "expires_on": str(NOW + 3_600), "token_type": "Bearer"}
    fake.tokens = 1
    fake.faults.append(Fault(body=json.dumps(said).encode()))
    asked = manager(fake, Secret())
    ask(asked, desk)
    ask(asked, desk)
    assert len(fake.asked) == 3
    assert isinstance(desk.clock, FakeClock)
    desk.clock.advance(hours=1)
    ask(asked, desk)
    assert fake.tokens == 2


def test_a_withdrawn_token_is_replaced_by_the_next_poll(fake: AzureMonitor, desk: Desk) -> None:
    asked = manager(fake, **APPLICATION)
    ask(asked, desk)
    fake.withdrawn.add("token-1")
    with pytest.raises(SourceError) as caught:
        ask(asked, desk)
    assert caught.value.reason == "credentials"
    ask(asked, desk)
    assert fake.tokens == 2


def test_a_wrong_secret_is_told_and_not_shown(fake: AzureMonitor, desk: Desk) -> None:
    secret = Secret(variable="KEY", environ={"KEY": "another-client-secret-987654321"})
    with pytest.raises(SourceError) as caught:
        ask(manager(fake, secret, **APPLICATION), desk)
    assert caught.value.reason == "credentials"
    assert "AADSTS7000215: Invalid client secret provided" in str(caught.value)
    assert "987654321" not in str(caught.value)


def test_nobody_sees_a_token(fake: AzureMonitor, desk: Desk) -> None:
    asked = manager(fake, **APPLICATION)
    ask(asked, desk)
    token = asked._token
    assert token.read() == "token-1"
    assert "token-1" not in f"{token!r} {asked!r} {vars(asked)}"
    with pytest.raises(TypeError):
        pickle.dumps(token)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(400), "credentials"),
        (Fault(401), "credentials"),
        (Fault(429, {"Retry-After": "600"}), "throttled"),
        (Fault(500), "server"),
        (Fault(body=b"{}"), "malformed"),
        (Fault(body=b'{"access_token": "a\\nb", "expires_in": 5}'), "malformed"),
        (Fault(body=b'{"access_token": "", "expires_in": 5}'), "malformed"),
        (Fault(body=b'{"access_token": "a", "expires_in": "x"}'), "malformed"),
        (Fault(body=b'{"access_token"'), "malformed"),
    ],
)
def test_faults_of_the_login(fake: AzureMonitor, desk: Desk, fault: Fault, reason: str) -> None:
    asked = manager(fake, **APPLICATION)
    fake.faults.extend([fault] * 4)
    with pytest.raises(SourceError) as caught:
        ask(asked, desk)
    assert caught.value.reason == reason
    fake.faults.clear()
    ask(asked, desk)


def test_the_token_goes_to_no_other_host(fake: AzureMonitor, desk: Desk) -> None:
    asked = manager(fake, **APPLICATION)
    answers = iter(
        [{"nextLink": f"https://elsewhere.example{LIST}?api-version=2023-05-01&$skip=a%2Bb"}, {}]
    )
    fake.faults.extend([None, *[Fault(body=json.dumps(a).encode()) for a in answers]])
    pages = asked.follow(
        lambda path, query: asked.get(desk, path, query), LIST, VERSION,
        link=lambda page: page.get("nextLink"), data=lambda _: None,
    )  # fmt: skip
    assert len(list(pages)) == 2
    assert fake.asked[-1].path == LIST
    assert fake.asked[-1].query == {"api-version": ["2023-05-01"], "$skip": ["a+b"]}


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        ({}, True, "names no application"),
        ({"directory": DIRECTORY}, True, "names no application"),
        ({"directory": "a/b", "client": CLIENT}, True, "names no application"),
        ({"directory": DIRECTORY, "client": "a b"}, True, "no id of an application"),
        ({**APPLICATION, "auth": "secret"}, False, "needs the client's secret"),
        ({**APPLICATION, "auth": "federated"}, False, "needs the federated token"),
        ({"auth": "managed"}, True, "takes no key"),
        ({**APPLICATION, "auth": "browser"}, True, "none of secret, federated, managed"),
        ({**APPLICATION, "cloud": "moon"}, True, "none of public, usgov, china"),
        ({**APPLICATION, "login_url": "http://login.example"}, True, "in the clear"),
    ],
)
def test_what_does_not_go_together(
    fake: AzureMonitor, options: dict[str, str], key: bool, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        manager(fake, None if key else Secret(), **options)


def test_a_base_url_in_the_clear_is_refused() -> None:
    with pytest.raises(ValueError, match="base_url would send credentials in the clear"):
        Manager(Settings("azure", Secret(), base_url="http://azure.example"), Options({}))
