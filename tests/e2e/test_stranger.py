"""Somebody who has never seen costmeter: start it, paste the line of its page, look."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.landing import on_page, paste
from fakes.exporter import Page, environment, free_port, wait_until

HOLD_SECONDS = 5
SERIES = {
    "category": "llm_api", "provider": "openai", "model": "gpt-4o-mini", "tenant_id": "default",
}  # fmt: skip
#: 1,200 tokens at 0.15 and 150 at 0.60 USD a million.
FIRST_USD = 0.00027


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """costmeter as it comes, in an empty folder: no file, no flag but another port."""
    address = f"127.0.0.1:{free_port()}"
    env = {**environment(), "COSTMETER_LEDGER_BIRTH_HOLD_SECONDS": str(HOLD_SECONDS)}
    assert names(tmp_path) == []
    process = subprocess.Popen(
        [sys.executable, "-m", "costmeter", "serve", "--web.listen-address", address],
        cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if f"listens on http://{address}/" in line:
                break
        else:
            raise AssertionError("it ended without saying where it listens")
        yield f"http://{address}"
        process.terminate()
        rest, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "level=error" not in rest
        assert names(tmp_path) == ["costmeter-data"]
    finally:
        process.kill()
        process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_the_line_on_the_landing_page_works_as_it_stands(url: str) -> None:
    with urllib.request.urlopen(f"{url}/", timeout=10) as answer:
        page = answer.read().decode()
    assert f"at 0 for {HOLD_SECONDS} seconds first" in page

    assert '"accepted":1,' in paste(on_page(page, "first-event"))
    sent = time.monotonic()

    wait_until(
        lambda: Page(paste(on_page(page, "month"))).sum("llm_cost_month_to_date", **SERIES),
        5, "spend of this month",
    )  # fmt: skip
    month = Page(paste(on_page(page, "month")))
    assert month.sum("llm_cost_month_to_date", **SERIES) == FIRST_USD
    assert len(month.samples) == 1

    def counter() -> float | None:
        return Page(paste(on_page(page, "total"))).sum("llm_cost_total", **SERIES)

    first = wait_until(lambda: [value] if (value := counter()) is not None else [], 5, "a counter")
    assert first == [0], "born at 0, so that increase() sees the first dollar"
    wait_until(lambda: counter() == FIRST_USD, HOLD_SECONDS + 5, "the counter after the hold")
    assert time.monotonic() - sent > HOLD_SECONDS - 1


def test_every_paste_is_another_call(url: str) -> None:
    with urllib.request.urlopen(f"{url}/", timeout=10) as answer:
        line = on_page(answer.read().decode(), "first-event")
    for _ in range(2):
        assert '"accepted":1,' in paste(line)
        time.sleep(1.1)  # the id is made of the second
