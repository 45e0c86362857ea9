"""Tokens are known by their hash, found in constant time, and shown nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmeter.config import Config, ConfigError, Tokens, load_config, load_tokens, new_token

Load = Callable[..., Config]

SECRET = "cm_Zm9vYmFy"
HASH = hashlib.sha256(SECRET.encode()).hexdigest()
OTHER_HASH = hashlib.sha256(b"another").hexdigest()


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "tokens.yml"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_tokens(write(folder, text))
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_a_token_is_found_by_itself_alone(tmp_path: Path) -> None:
    text = (
        f"- {{name: gateway, sha256: {HASH.upper()}}}\n"
        f"- {{name: app, sha256: {OTHER_HASH}, tenant_id: 007, feed: sdk, permissions: [read]}}\n"
    )
    tokens = load_tokens(write(tmp_path, text))
    gateway, app = tokens.find(SECRET), tokens.find("another")
    assert gateway is not None
    assert app is not None
    assert (gateway.name, gateway.feed, gateway.tenant_id) == ("gateway", "gateway", "")
    assert (gateway.may_write, gateway.may_read) == (True, False)
    assert (app.name, app.feed, app.tenant_id) == ("app", "sdk", "007")
    assert (app.may_write, app.may_read) == (False, True)
    for wrong in ("", HASH, SECRET[:-1], f"{SECRET} ", f" {SECRET}", SECRET.upper(), "\ud800"):
        assert tokens.find(wrong) is None
    assert len(tokens) == 2
    assert tokens.warnings == ()


@given(st.text())
def test_nothing_else_is_ever_found(bearer: str) -> None:
    tokens = Tokens([])
    assert tokens.find(bearer) is None


def test_a_new_token_is_found_by_the_hash_that_came_with_it(tmp_path: Path) -> None:
    token, digest = new_token()
    assert len(token) >= 40
    assert token != new_token()[0]
    found = load_tokens(write(tmp_path, f"- {{name: a, sha256: {digest}}}")).find(token)
    assert found is not None
    assert found.name == "a"


def test_no_repr_shows_a_secret(tmp_path: Path) -> None:
    tokens = load_tokens(write(tmp_path, f"- {{name: gateway, sha256: {HASH}}}"))
    for shown in (repr(tokens), str(tokens), repr(list(tokens)), repr(tokens.find(SECRET))):
        assert "gateway" in shown
        assert HASH not in shown
        assert HASH[:16] not in shown
        assert SECRET not in shown
        assert repr(bytes.fromhex(HASH)) not in shown


HOW = (
    "the 64 digits that `printf %s TOKEN | sha256sum` prints;"
    " `costmeter token` makes a new token together with them"
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            f"- name: a\n  sha256: {SECRET}",
            (
                f"tokens.yml:2: [0].sha256: the value (not shown) is not the SHA-256 of a token;"
                f" write {HOW}"
            ),
        ),
        (
            f"- name: a\n  sha256: {hashlib.sha256(b'').hexdigest()}",
            (
                f"tokens.yml:2: [0].sha256: the value (not shown) is the hash of no text at all;"
                f" write {HOW}"
            ),
        ),
        (
            f"- name: a\n  sha256: {HASH}\n- name: a\n  sha256: {OTHER_HASH}",
            (
                "tokens.yml:3: [1].name: the value (not shown) is taken already, in line 1;"
                " every name stands once"
            ),
        ),
        (
            f"- name: a\n  sha256: {HASH}\n- name: b\n  sha256: {HASH}",
            (
                "tokens.yml:4: [1].sha256: is the same token as that of 'a';"
                " every sender has its own"
            ),
        ),
        (
            f"- {{name: any, sha256: {HASH}}}",
            "tokens.yml:1: [0].name: 'any' means every feed in scopes; write another word",
        ),
        (
            f"- {{name: a, sha256: {HASH}, permissions: []}}",
            (
                "tokens.yml:1: [0].permissions: allows nothing; write [write], [read] or"
                " [write, read]"
            ),
        ),
        ("", "tokens.yml: holds no token, so nobody could send; add one"),
        ("[]", "tokens.yml: holds no token, so nobody could send; add one"),
    ],
)
def test_what_is_told(tmp_path: Path, text: str, told: str) -> None:
    assert refused(tmp_path, text) == [told]


def test_a_plain_token_is_refused_with_the_way_to_its_hash(tmp_path: Path) -> None:
    told = refused(tmp_path, f"- name: a\n  token: {SECRET}\n")
    assert told == [
        f"tokens.yml:1: [0].sha256: is missing; write {HOW}",
        (
            "tokens.yml:2: [0].token: a token itself must not stand here: remove it and write"
            f" sha256 with {HOW}"
        ),
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"{SECRET}",
        f"{SECRET}: x",
        f"- {SECRET}",
        f"- {{{SECRET}: a}}",
        f"- {{name: a, sha256: [{SECRET}]}}",
        f"- {{name: a, sha256: *{SECRET}}}",
        f"- {{name: a, sha256: !{SECRET} x}}",
        f"- {{name: a, sha256: '{SECRET}",
        f"- {{name: a, sha256: {HASH}, permissions: [{SECRET}]}}",
        f"- {{name: 'x {SECRET}', sha256: {HASH}}}",
        f"- {{name: a, sha256: {HASH}, {SECRET}: 1, {SECRET}: 2}}",
        f"%TAG !{SECRET}! x\n---\n- {{name: !{SECRET}!a b}}",
        f"- {{name: a, sha256: {SECRET}}}\n\t- {SECRET}",
    ],
)
def test_no_error_quotes_what_stands_in_the_file(tmp_path: Path, text: str) -> None:
    told = refused(tmp_path, text)
    assert told
    assert SECRET not in "\n".join(told)


def test_a_file_that_everybody_reads_is_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, f"- {{name: a, sha256: {HASH}}}", mode=0o644)
    (warning,) = load_tokens(path).warnings
    assert str(warning) == f"{path}: can be read by everybody on this machine: chmod o-r it"
    config = tmp_path / "costmeter.yml"
    config.write_text("ingest:\n  tokens_file: tokens.yml\n", "utf-8")
    (warning,) = load_config(config, {}).warnings
    assert str(warning) == (
        f"{config}:2: ingest.tokens_file: {path} can be read by everybody: chmod o-r it"
    )
    path.chmod(0o640)
    assert load_tokens(path).warnings == ()
    assert load_config(config, {}).warnings == ()


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yml: there is no such file"):
        load_tokens(tmp_path / "none.yml")
