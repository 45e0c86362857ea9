from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from html import unescape

import pytest

import costmeter
from costmeter.web import Access, Settings
from costmeter.web.landing import base_url
from fakes.clock import FakeClock
from fakes.served import Rig, State, serving
from fakes.tokens import bearer, one_user, three_tokens


@pytest.fixture
def rig() -> Iterator[Rig]:
    with serving(Rig()) as rig:
        yield rig


def test_metrics_pass_on_what_the_client_asks_for(rig: Rig) -> None:
    answer = rig.ask(
        "GET",
        "/metrics?name[]=a&name%5B%5D=b",
        headers={"Accept": "text/plain", "Accept-Encoding": "gzip"},
    )
    assert (answer.status, answer.text) == (200, "up 1\n")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["vary"] == "accept"
    assert rig.rendered == [("text/plain", "gzip", ["a", "b"])]
    rig.ask("GET", "/metrics")
    assert rig.rendered[1][2] == []


def test_head_has_the_headers_and_no_body(rig: Rig) -> None:
    for path in ("/", "/metrics", "/-/healthy", "/-/ready", "/openapi.json"):
        get, head = rig.ask("GET", path), rig.ask("HEAD", path)
        assert head.body == b""
        assert (head.status, head.headers["content-type"]) == (200, get.headers["content-type"])
        assert head.headers["content-length"] == str(len(get.body))


def test_health(rig: Rig) -> None:
    assert rig.ask("GET", "/-/healthy").text == "healthy\n"
    assert rig.ask("GET", "/-/ready").text == "ready\n"
    rig.state = State(ready=False, reasons=("the prices are being read", "the clock jumped"))
    assert rig.ask("GET", "/-/healthy").status == 200
    answer = rig.ask("GET", "/-/ready")
    assert answer.status == 503
    assert answer.text == "not ready\nthe prices are being read\nthe clock jumped\n"


def test_reload(rig: Rig) -> None:
    assert rig.ask("POST", "/-/reload").text == "reloaded\n"
    assert rig.ask("PUT", "/-/reload").status == 200
    rig.reload_error = "costmeter.yml:3: budgets.limit: expected a number"
    answer = rig.ask("POST", "/-/reload")
    assert answer.status == 500
    assert rig.reload_error in answer.text
    assert rig.reloads == 3


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/metrics", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("GET", "/-/reload", "POST, PUT"),
        ("GET", "/api/v1/usage", "POST"),
        ("OPTIONS", "/api/v1/usage", "POST"),
        ("PATCH", "/api/v1/corrections", "POST"),
    ],
)
def test_wrong_methods(rig: Rig, method: str, path: str, allow: str) -> None:
    answer = rig.ask(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allow)


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "//", "/%2e%2e/etc", "/api/v1/usage/1"])
def test_unknown_paths(rig: Rig, path: str) -> None:
    assert rig.ask("GET", path).status == 404


def test_an_unexpected_error_is_logged_and_told_plainly(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.render_error = ZeroDivisionError("hidden detail")
    answer = rig.ask("GET", "/metrics")
    assert answer.status == 500
    assert "hidden detail" not in answer.text
    assert "Traceback" not in answer.text
    assert "hidden detail" in caplog.text
    rig.render_error = None
    assert rig.ask("GET", "/metrics").status == 200


def test_the_description_names_both_routes(rig: Rig) -> None:
    said = rig.ask("GET", "/openapi.json").json()
    assert sorted(said["paths"]) == [
        "/api/v1/corrections",
        "/api/v1/usage",
        "/v1/metrics",
        "/v1/traces",
    ]
    assert said["info"]["version"] == costmeter.__version__


def shell_line(page: str, name: str) -> str:
    found = re.search(f'<pre id="{name}">(.*?)</pre>', page, re.DOTALL)
    assert found is not None
    return unescape(found[1])


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("guarded", [False, True])
def test_the_lines_of_the_landing_page_work_when_pasted(guarded: bool) -> None:
    access = Access(listen_host="127.0.0.1")
    if guarded:
        access = Access(listen_host="127.0.0.1", tokens=three_tokens(), web=one_user())
    clock = FakeClock(time.time_ns() // 1_000_000)
    with serving(Rig(access=access, clock=clock)) as rig:
        page = rig.ask("GET", "/", headers=bearer("look")).text
        assert costmeter.__version__ in page
        environment = os.environ | {
            "COSTMETER_TOKEN": "secret-any",
            "COSTMETER_USER": "ann:pass:word",
        }
        shell = {
            "env": environment,
            "shell": True,
            "capture_output": True,
            "text": True,
            "timeout": 20,
        }
        sent = subprocess.run(shell_line(page, "first-event"), **shell)  # type: ignore[call-overload]
        assert json.loads(sent.stdout) == {
            "accepted": 1,
            "duplicate": 0,
            "observed": 0,
            "rejected": [],
        }
        for name in ("month", "total"):
            seen = subprocess.run(shell_line(page, name), **shell)  # type: ignore[call-overload]
            assert seen.stdout == "up 1\n"
        assert [names for _, _, names in rig.rendered] == [
            ["llm_cost_month_to_date"],
            ["llm_cost_total"],
        ]


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("costs.example:8443", "costs.example:8443"),
        ("[::1]:9952", "[::1]:9952"),
        ("x';rm -rf ~;'", "127.0.0.1:9952"),
        ("<script>", "127.0.0.1:9952"),
        ("", "127.0.0.1:9952"),
    ],
)
def test_the_landing_page_repeats_no_dangerous_host(rig: Rig, host: str, shown: str) -> None:
    assert base_url("https", host) == f"https://{shown}"
    page = rig.ask("GET", "/", headers={"Host": host}).text
    assert f"http://{shown}/api/v1/usage" in page
    assert "<script" not in page


def test_the_birth_hold_and_the_documentation_are_on_the_page() -> None:
    settings = Settings(birth_hold_seconds=30, docs_url="https://docs.example/?a=1&b=2")
    with serving(Rig(settings=settings)) as rig:
        answer = rig.ask("GET", "/")
    assert "30 seconds" in answer.text
    assert 'href="https://docs.example/?a=1&amp;b=2"' in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_server_that_only_reads_asks_for_no_event() -> None:
    with serving(Rig(door=None)) as rig:
        page = rig.ask("GET", "/").text
    assert "first-event" not in page
    assert "only shows the ledger" in page
