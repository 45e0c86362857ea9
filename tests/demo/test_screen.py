"""What is said in the terminal: pages as somebody on call reads them."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import urllib.error
import urllib.request
from typing import Any

import pytest

from costmeter.demo.receiver import Message, Receiver
from costmeter.demo.screen import Screen


def alert(status: str = "firing", **labels: str) -> dict[str, Any]:
    named = {"alertname": "BudgetExceeded", "severity": "critical"} | labels
    said = {
        "summary": "Budget acme of tenant acme is used up: 101%",
        "description": "Spent 101.00 USD of 100.00 USD. " + "More words. " * 12,
        "runbook_url": "https://example.org/runbooks/BudgetExceeded.md",
    }
    return {"status": status, "labels": named, "annotations": said}


PAGE = Message("pager", "firing", [alert(budget="acme", tenant_id="acme", period="month")])


def shown(message: Message, *, quiet: bool = False) -> str:
    out = io.StringIO()
    Screen(out, quiet=quiet).message(message)
    return out.getvalue()


def test_a_page_names_amount_budget_and_runbook() -> None:
    text = shown(PAGE)
    assert "── PAGE  CRITICAL  to pager, 0 s after the start" in text
    assert "\nBudget acme of tenant acme is used up: 101%\n" in text
    assert "\n  Spent 101.00 USD of 100.00 USD." in text
    assert "\n  Budget   acme of tenant acme, a month\n" in text
    assert "\n  Runbook  https://example.org/runbooks/BudgetExceeded.md\n" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text, "no colours into a file"


def test_a_page_is_shown_even_when_quiet_and_the_rest_is_not() -> None:
    assert "PAGE" in shown(PAGE, quiet=True)
    out = io.StringIO()
    screen = Screen(out, quiet=True)
    screen.step("a step")
    screen.progress("progress")
    screen.links([("name", "http://link")])
    screen.end()
    assert out.getvalue() == ""
    screen.note("trouble")
    assert "trouble" in out.getvalue()


def test_a_warning_and_what_is_over_look_different() -> None:
    assert "── MESSAGE  WARNING  to team" in shown(
        Message("team", "firing", [alert(severity="warning")])
    )
    over = shown(Message("pager", "resolved", [alert("resolved")]))
    assert re.fullmatch(r" +0\.0 s  OVER  Budget acme of tenant acme is used up: 101%\n", over)


@pytest.mark.parametrize(
    ("message", "page"),
    [
        (PAGE, True),
        (Message("team", "firing", [alert(severity="warning")]), False),
        (Message("pager", "resolved", [alert("resolved")]), False),
    ],
)
def test_only_what_fires_and_is_critical_is_a_page(message: Message, page: bool) -> None:
    assert message.is_page is page


def test_progress_without_a_terminal_is_a_line_now_and_then() -> None:
    out = io.StringIO()
    screen = Screen(out)
    for _ in range(50):
        screen.progress("waiting")
    assert out.getvalue().count("waiting\n") == 1


def test_a_terminal_gets_colours_and_one_line_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as out:
        screen = Screen(out)
        screen.progress("waiting, first")
        screen.progress("waiting, second")
        screen.message(PAGE)
        text = ""
        while "BudgetExceeded.md" not in text:
            text += os.read(master, 10_000).decode()
    os.close(master)
    assert text.count("\r\x1b[K") == 3, "each line of progress is rewritten, the last one cleared"
    assert "\x1b[1;31m── PAGE" in text


def post(receiver: Receiver, body: bytes) -> int:
    request = urllib.request.Request(f"http://{receiver.address}/pager", body)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_the_receiver_takes_messages_and_refuses_anything_else() -> None:
    receiver = Receiver()
    try:
        body = {"receiver": "pager", "status": "firing", "alerts": PAGE.alerts, "version": "4"}
        assert post(receiver, json.dumps(body).encode()) == 200
        assert receiver.messages.get(timeout=5) == PAGE
        for wrong in (b"", b"{", b"[]", b'{"receiver": "pager"}'):
            assert post(receiver, wrong) == 400
        assert receiver.messages.empty()
    finally:
        receiver.close()
