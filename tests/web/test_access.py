from __future__ import annotations

import base64
import http.client
import json
import logging
import socket
from collections.abc import Iterator

import pytest

from costmeter.config.tokens import Tokens
from costmeter.web import Access
from costmeter.web.access import is_loopback
from fakes.calls import call
from fakes.served import Rig, State, serving
from fakes.tokens import bearer, one_user, three_tokens, token

USAGE = "/api/v1/usage"


TOKENS = three_tokens()
WEB = one_user()


def basic(user: str, password: str) -> dict[str, str]:
    both = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {both}"}


@pytest.fixture
def guarded() -> Iterator[Rig]:
    with serving(Rig(access=Access(listen_host="", tokens=TOKENS, web=WEB))) as rig:
        yield rig


@pytest.fixture
def open_rig() -> Iterator[Rig]:
    with serving(Rig()) as rig:
        yield rig


def post(rig: Rig, headers: dict[str, str], **changes: object) -> tuple[int, str]:
    answer = rig.ask("POST", USAGE, json.dumps([call(**changes)]), headers)
    return answer.status, answer.text


def test_tokens_decide_who_writes(guarded: Rig) -> None:
    assert post(guarded, {})[0] == 401
    assert post(guarded, {"Authorization": "Bearer nonsense"})[0] == 401
    assert post(guarded, {"Authorization": "Bearer"})[0] == 401
    assert post(guarded, basic("ann", "pass:word"))[0] == 401
    assert post(guarded, bearer("look"))[0] == 403
    assert post(guarded, bearer("any"), tenant_id="bolt")[0] == 200
    assert post(guarded, bearer("acme"))[0] == 200
    status, text = post(guarded, bearer("acme"), tenant_id="bolt")
    assert (status, "not allowed" in text) == (200, True)
    assert guarded.door is not None
    counts = guarded.tally.read()["costmeter_events_rejected_total"]
    assert counts == {("unknown", "unauthorized"): 5, ("feed-acme", "tenant"): 1}
    assert [(u.feed, u.labels.tenant_id) for u in guarded.door.usages] == [
        ("feed-any", "bolt"),
        ("feed-acme", "acme"),
    ]


def test_a_401_says_what_to_send_and_a_token_is_not_repeated(
    guarded: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = guarded.ask("POST", USAGE, "[]", {"Authorization": "Bearer s3cr3t-value"})
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "s3cr3t-value" not in answer.text + str(answer.headers) + caplog.text
    assert guarded.ask("GET", "/metrics").headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("path", ["/", "/metrics", "/openapi.json"])
def test_reading_asks_for_the_password(guarded: Rig, path: str) -> None:
    assert guarded.ask("GET", path).status == 401
    assert guarded.ask("HEAD", path).status == 401
    for wrong in (
        basic("ann", "word"),
        basic("bob", "pass:word"),
        basic("ann", ""),
        bearer("any"),
        bearer("nobody"),
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"ann").decode()},
        {"Authorization": "Digest x"},
    ):
        assert guarded.ask("GET", path, headers=wrong).status == 401
    for _ in range(2):
        assert guarded.ask("GET", path, headers=basic("ann", "pass:word")).status == 200
    assert guarded.ask("GET", path, headers=bearer("look")).status == 200


def test_a_token_of_one_tenant_does_not_read_the_figures_of_all() -> None:
    tokens = Tokens([token("acme", "acme", ("read",))])
    with serving(Rig(access=Access(listen_host="", tokens=tokens, web=WEB))) as rig:
        assert rig.ask("GET", "/metrics", headers=bearer("acme")).status == 401


def test_headers_of_the_web_configuration_are_on_every_answer(guarded: Rig) -> None:
    for method, path in (("GET", "/metrics"), ("POST", USAGE), ("GET", "/nothing")):
        assert guarded.ask(method, path).headers["x-frame-options"] == "deny"


def test_probes_need_no_password_and_reasons_do(guarded: Rig) -> None:
    assert guarded.ask("GET", "/-/healthy").status == 200
    guarded.state = State(healthy=False, ready=False, reasons=("the disk is full",))
    for path in ("/-/healthy", "/-/ready"):
        stranger = guarded.ask("GET", path)
        assert (stranger.status, "disk" in stranger.text) == (503, False)
        known = guarded.ask("GET", path, headers=basic("ann", "pass:word"))
        assert (known.status, "the disk is full" in known.text) == (503, True)


def test_reload_asks_for_the_password_and_refuses_web_pages(guarded: Rig) -> None:
    right = basic("ann", "pass:word")
    assert guarded.ask("POST", "/-/reload").status == 401
    assert guarded.ask("POST", "/-/reload", headers=right | {"Origin": "http://x"}).status == 403
    assert guarded.ask("POST", "/-/reload", headers=bearer("look")).status == 401
    assert guarded.reloads == 0
    assert guarded.ask("POST", "/-/reload", headers=right).status == 200
    assert guarded.reloads == 1


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Origin": "http://127.0.0.1"}, "Origin"),
        ({"Host": "evil.example"}, "Host header"),
        ({"Host": "127.0.0.1.evil.example:9952"}, "Host header"),
        ({"Host": ""}, "Host header"),
        ({"X-Forwarded-For": "127.0.0.1"}, "proxy"),
        ({"Forwarded": "for=127.0.0.1"}, "proxy"),
    ],
)
@pytest.mark.parametrize("path", [USAGE, "/api/v1/corrections", "/-/reload"])
def test_without_tokens_no_web_page_and_no_proxy_writes(
    open_rig: Rig, path: str, headers: dict[str, str], says: str
) -> None:
    answer = open_rig.ask("POST", path, "[]", headers)
    assert answer.status == 403
    assert says in answer.text
    assert open_rig.reloads == 0


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.8.9.1:5", "[::1]:9"]
)
def test_names_of_this_machine(open_rig: Rig, host: str) -> None:
    assert post(open_rig, {"Host": host})[0] == 200


def test_without_tokens_a_public_address_takes_nothing() -> None:
    with serving(Rig(access=Access(listen_host="")), host="") as rig:
        status, text = post(rig, {})
        assert status == 403
        assert "ingest.tokens_file" in text
        assert rig.ask("GET", "/metrics").status == 200
        # The process can still be told to reload from its own machine.
        assert rig.ask("POST", "/-/reload").status == 200


def test_a_stranger_cannot_reload() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but the loopback ones")
        own = probe.getsockname()[0]
    if is_loopback(own):
        pytest.skip("this machine has no address but the loopback ones")
    with serving(Rig(access=Access(listen_host="")), host="") as rig:
        connection = http.client.HTTPConnection(own, rig.port, timeout=5)
        try:
            connection.request("POST", "/-/reload", headers={"Host": "localhost"})
            assert connection.getresponse().status == 403
        finally:
            connection.close()
        assert rig.reloads == 0


def test_new_rules_hold_from_the_next_request_on() -> None:
    rig = Rig()
    application = rig.application()
    rig.application = lambda: application  # type: ignore[method-assign]
    with serving(rig):
        assert post(rig, {})[0] == 200
        application.access = Access(listen_host="127.0.0.1", tokens=TOKENS)
        assert post(rig, {})[0] == 401


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.255.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
