"""The web configuration: basic authentication, TLS, and no lock that is not there."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import bcrypt
import pytest

from costmeter.config import ConfigError, WebConfig, load_web_config

#: Of "right" and of "zwölf". Fixed, because they are parts of the names of tests.
HASH = "$2b$04$8u9n2WP/pYlvKlrpFIdxI.Rrt.SxJc0j8le5Zxa9lIT3GR0PWvVvq"
OTHER = "$2b$04$Viqq3uPlY14tQgH1kR6AJe/wa0i5DPMm3fuY/kfiVOHNPgKzwpZkK"
USERS = f"basic_auth_users:\n  alice: {HASH.replace('$2b$', '$2y$')}\n  bob: {OTHER}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "web.yml"
    path.write_text(text, "utf-8")
    return path


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_web_config(write(folder, text))
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_passwords(tmp_path: Path) -> None:
    web = load_web_config(write(tmp_path, USERS))
    assert web.needs_password
    for _ in range(2):
        assert web.check("alice", "right")
        assert web.check("bob", "zwölf")
        for user, password in [
            ("alice", "wrong"),
            ("alice", ""),
            ("alice", "right\0"),
            ("alice", HASH),
            ("bob", "right"),
            ("carol", "right"),
            ("", "right"),
            ("alicer", "ight"),
            ("alice", "\ud800"),
            ("alice", "x" * 1000),
        ]:
            assert not web.check(user, password)
            assert not web.remembers(user, password)


def test_an_empty_file_asks_for_nothing(tmp_path: Path) -> None:
    web = load_web_config(write(tmp_path, ""))
    assert (web.tls, web.headers, web.needs_password) == (None, {}, False)
    assert not web.check("alice", "right")


def test_a_long_password_is_cut_where_bcrypt_cuts_it() -> None:
    known = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    web = WebConfig(None, {}, {"a": known})
    assert web.check("a", "x" * 72)
    assert web.check("a", "x" * 80)
    assert not web.check("a", "x" * 71)


def test_a_verified_password_costs_no_second_bcrypt() -> None:
    web = WebConfig(None, {}, {"a": bcrypt.hashpw(b"p", bcrypt.gensalt(10)).decode()})
    assert not web.remembers("a", "p")
    begun = time.perf_counter()
    assert web.check("a", "p")
    first = time.perf_counter() - begun
    assert web.remembers("a", "p")
    begun = time.perf_counter()
    for _ in range(100):
        assert web.check("a", "p")
    assert time.perf_counter() - begun < first  # a hundred, in less than the first alone took


def test_threads_that_ask_at_once_get_right_answers() -> None:
    web = WebConfig(None, {}, {"a": HASH})
    answers: list[tuple[str, bool]] = []
    passwords = ["right", "wrong"] * 8
    threads = [
        threading.Thread(target=lambda word=word: answers.append((word, web.check("a", word))))
        for word in passwords
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == sorted((word, word == "right") for word in passwords)


def test_no_repr_and_no_error_shows_a_hash_or_a_password(tmp_path: Path) -> None:
    assert HASH[7:] not in repr(load_web_config(write(tmp_path, USERS)))
    for value in ("sesame", "'!sesame!x'", "!sesame!x", "[sesame]", "*sesame", f"{HASH}sesame"):
        told = refused(tmp_path, f"basic_auth_users:\n  alice: {value}\n")
        assert len(told) == 1
        assert told[0].startswith("web.yml:2: ")
        assert "sesame" not in told[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "basic_auth_users: {alice: secret}",
            (
                "web.yml:1: basic_auth_users.alice: the value (not shown) is not a bcrypt hash with"
                " a cost of 4 to 16; write what `htpasswd -nBC 10 NAME` prints after the colon"
            ),
        ),
        (
            "basic_auth_users: [alice]",
            (
                "web.yml:1: basic_auth_users: something else stands here, not a mapping of users;"
                " write one line per user, as NAME: HASH"
            ),
        ),
        (
            f"basic_auth_users: {{'a:b': {OTHER}}}",
            "web.yml:1: basic_auth_users: holds a user name that is empty or has a colon",
        ),
        (
            "rate_limit: {burst: 1}",
            (
                "web.yml:1: rate_limit: is not supported: limit the rate in a proxy, and remove it"
                " here"
            ),
        ),
        (
            "tls: {}",
            (
                "web.yml:1: tls: is no setting. Known here: tls_server_config,"
                " http_server_config, basic_auth_users"
            ),
        ),
        (
            "http_server_config: {headers: {X-Frame-Options: allow}}",
            (
                "web.yml:1: http_server_config.headers.X-Frame-Options: 'allow' is not one of deny,"
                " sameorigin."
            ),
        ),
        (
            "http_server_config: {headers: {X-Powered-By: me}}",
            (
                "web.yml:1: http_server_config.headers.X-Powered-By: is no setting. Known here:"
                " Content-Security-Policy, X-Frame-Options, X-Content-Type-Options,"
                " X-XSS-Protection, Strict-Transport-Security"
            ),
        ),
    ],
)
def test_what_is_told(tmp_path: Path, text: str, told: str) -> None:
    assert refused(tmp_path, text) == [told]


def test_headers(tmp_path: Path) -> None:
    text = "http_server_config:\n  http2: false\n  headers: {X-Frame-Options: deny}\n"
    assert load_web_config(write(tmp_path, text)).headers == {"X-Frame-Options": "deny"}
