"""What a command says to somebody who made a mistake: what is wrong, and what to write instead."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from costmeter.cli import main
from costmeter.ledger.store import open_for_writing

EVENTS = """\
{"request_id": "a", "timestamp": "2026-01-05T10:00:00Z", "provider": "openai",\
 "model": "gpt-4o-mini", "team": "search", "tokens": {"input": 1000000}}
{"request_id": "b", "timestamp": "2026-01-06T10:00:00Z", "provider": "vllm",\
 "model": "our-own-7b", "team": "chat", "tokens": {"input": 5}}
"""
TRACE = "when,tokens_in\n2026-01-05T10:00:00Z,100\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trace.csv").write_text(TRACE)
    (tmp_path / "old.ndjson").write_text(EVENTS)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 1) -> str:
    capsys.readouterr()
    assert code == main(arguments)
    return capsys.readouterr().err


def test_cost_names_what_has_no_price(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["import", "old.ndjson", "--ledger.path", "l.db"])
    ask = ("cost", "--ledger.path", "l.db", "--since")
    assert "unpriced, not free): vllm/our-own-7b\n" in said(capsys, *ask, "2026-01-01", code=0)
    assert said(capsys, *ask, "2026-01-01", "--where", "team=search", code=0) == ""
    assert said(capsys, *ask, "2026-01-07", code=0) == ""
    main([*ask, "2026-01-01", "--by", "provider", "--json"])
    assert len(json.loads(capsys.readouterr().out)) == 2, "the hint stays out of the JSON"


def test_cost_is_silent_about_a_price_that_came(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["import", "old.ndjson", "--ledger.path", "l.db"])
    (folder / "p.yml").write_text(
        "prices:\n  - provider: vllm\n    model: our-own-7b\n    from: 2026-01-01\n"
        "    source: a test\n    usd_per_million: {input: 1}\n"
    )
    (folder / "c.yml").write_text("prices:\n  files: [p.yml]\nledger:\n  path: l.db\n")
    assert main(["run", "repricing", "--config.file", "c.yml"]) == 0
    ask = ("cost", "--config.file", "c.yml", "--since", "2026-01-01")
    assert said(capsys, *ask, code=0) == ""


def test_cost_refuses_a_span_that_ends_before_it_begins(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--until 2h is not after --since 1h" in said(
        capsys, "cost", "--since", "1h", "--until", "2h"
    )


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["estimate", "call", "openia", "gpt-4o", "--tokens", "input=1"], "openai/gpt-4o?"),
        (["estimate", "call", "openai", "gpt4o", "--tokens", "input=1"], "mean openai/gpt-4o,"),
        (["estimate", "workload", "--provider", "openia", "--tokens", "input=1"], "mean openai?"),
        (["prices", "show", "gpt4o"], "mean gpt-4o,"),
        (["prices", "show", "gpt-4o", "--provider", "openia"], "mean openai/gpt-4o?"),
        (["prices", "show", "A100-40GB", "--gpu"], "--provider gcp --region us-central1"),
        (["prices", "show", "H200", "--gpu"], "--provider gcp --region us-central1"),
        (["prices", "show", "B999", "--gpu", "--provider", "gcp"], "has A100-40GB, A100-80GB,"),
    ],
)
def test_a_misspelt_name_meets_one_that_exists(
    capsys: pytest.CaptureFixture[str], arguments: list[str], meant: str
) -> None:
    assert meant in said(capsys, *arguments)


def test_the_place_that_is_named_has_the_price(capsys: pytest.CaptureFixture[str]) -> None:
    card = ["prices", "show", "A100-40GB", "--gpu", "--provider", "gcp", "--region", "us-central1"]
    assert main(card) == 0


@pytest.mark.parametrize("arguments", [[], ["prices"], ["cots"], ["cost", "--bye"]])
def test_wrong_usage_says_where_the_flags_are_listed(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "--help' lists what there is\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["rules", "--label", "a=b"],
        ["rules", "--namespace", "monitoring", "--output", "out"],
        ["dashboards", "--folder", "Cost", "--output", "out"],
        ["dashboards", "--name", "llm", "--output", "out"],
    ],
)
def test_files_have_no_place_for_what_an_object_carries(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert "add --format configmap" in said(capsys, *arguments)
    assert not (folder / "out").exists()


def test_replay_without_an_exporter_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        # Bound and not listening: nobody else gets the port, and it refuses connections.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        text = said(
            capsys,
            "replay",
            "trace.csv",
            "--url",
            url,
            "--columns",
            "timestamp=when,input=tokens_in",
        )
    assert f"no exporter takes events at {url}/api/v1/usage: Connection refused; start it" in text


def test_replay_names_the_columns_there_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "the columns of trace.csv are when, tokens_in" in said(capsys, "replay", "trace.csv")
    assert (
        said(capsys, "replay", "none.csv")
        == "costmeter: none.csv cannot be read: No such file or directory\n"
    )


def test_import_beside_an_exporter_names_a_way(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = open_for_writing(folder / "l.db", 3_600_000)
    try:
        text = said(capsys, "import", "old.ndjson", "--ledger.path", "l.db")
    finally:
        store.close()
    assert "stop it for the import, or play the file into it with 'costmeter replay'" in text
    assert "--read-only" not in text


def test_check_config_names_the_file_it_did_not_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(capsys, "check-config", code=0) == ""
    assert main(["init"]) == 0
    assert "then: costmeter serve --config.file costmeter.yml\n" in capsys.readouterr().out
    assert "costmeter.yml was not looked at" in said(capsys, "check-config", code=0)
    assert said(capsys, "check-config", "costmeter.yml", code=0) == ""


def test_explain_says_how_many_figures_it_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["import", "old.ndjson", "--ledger.path", "l.db"])
    ask = ["explain", "--by", "model", "--since", "2026-01-01", "--ledger.path", "l.db", "--top"]
    capsys.readouterr()
    assert main([*ask, "1"]) == 0
    assert capsys.readouterr().out.endswith("do\nand 1 smaller figure; --top shows more\n")
    assert main([*ask, "0"]) == 0
    assert capsys.readouterr().out == "and 2 smaller figures; --top shows more\n"
