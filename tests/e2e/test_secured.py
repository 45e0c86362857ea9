"""With TLS, passwords and tokens: who reads and who writes, and where the secrets stay."""

from __future__ import annotations

import base64
import hashlib
import http.client
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest

from e2e.landing import on_page, paste
from fakes.exporter import Answer, Exporter, call, environment, run, wait_until
from fakes.prometheus import Prometheus

PASSWORD = "correct horse battery"
WRONG = "wrong-guess-1"
CONFIG = """
ledger: {birth_hold_seconds: 3}
gpu: {enabled: false}
ingest: {tokens_file: tokens.yml}
web: {config_file: web.yml}
"""


class SecuredExporter(Exporter):
    """Spoken to by TLS, with the certificate checked."""

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 20,
    ) -> Answer:
        trust = ssl.create_default_context(cafile=str(self.folder / "server.crt"))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=timeout, context=trust
        )
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()


@dataclass(frozen=True)
class Secured:
    exporter: SecuredExporter
    token: str
    #: Everything that nobody may find anywhere.
    secrets: tuple[bytes, ...]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    make_certificate(folder)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()
    (folder / "web.yml").write_text(
        "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
        f"basic_auth_users: {{prometheus: '{hashed}'}}\n"
    )
    (folder / "web.yml").chmod(0o600)
    token = make_token(folder)
    key = (folder / "server.key").read_text().splitlines()[1]
    secrets = (
        PASSWORD, hashed, token, hashlib.sha256(token.encode()).hexdigest(), key, WRONG,
        base64.b64encode(f"prometheus:{PASSWORD}".encode()).decode(),
    )  # fmt: skip
    exporter = SecuredExporter(folder, CONFIG, flags=["--log.level", "debug"])
    with exporter.start():
        yield Secured(exporter, token, tuple(secret.encode() for secret in secrets))


def make_certificate(folder: Path) -> None:
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", "/CN=costmeter",
            "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "-keyout", "server.key", "-out", "server.crt",
        ],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    (folder / "server.key").chmod(0o600)


def make_token(folder: Path) -> str:
    """As the command makes it: the token, whose entry now stands in the file of tokens."""
    made = run("token", cwd=folder)
    assert made.returncode == 0, made.stderr
    shown, _, entry = made.stdout.partition("entry for the file of tokens:\n")
    (folder / "tokens.yml").write_text(entry.replace("NAME", "gateway"))
    (folder / "tokens.yml").chmod(0o600)
    return shown.split()[-1]


def basic(password: str) -> dict[str, str]:
    both = base64.b64encode(f"prometheus:{password}".encode()).decode()
    return {"authorization": f"Basic {both}"}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_reading_needs_the_password_and_nothing_else_will_do(secured: Secured) -> None:
    ask = secured.exporter.ask
    for path in ("/", "/metrics", "/openapi.json"):
        assert ask("GET", path).status == 401
        assert ask("GET", path, headers=basic(WRONG)).status == 401
        assert ask("GET", path, headers=bearer(secured.token)).status == 401
        assert ask("GET", path, headers=basic(PASSWORD)).status == 200
    for path in ("/-/healthy", "/-/ready"):
        assert ask("GET", path).status == 200, "probes have no password"


def test_writing_needs_the_token_and_nothing_else_will_do(secured: Secured) -> None:
    exporter = secured.exporter
    event = call("written", tenant_id="writer")
    for headers in ({}, bearer(WRONG), basic(PASSWORD), bearer(PASSWORD)):
        assert exporter.post([event], headers).status == 401
    taken = exporter.post([event], bearer(secured.token))
    assert (taken.status, taken.json()["accepted"]) == (200, 1)


def test_without_tls_nothing_is_said(secured: Secured) -> None:
    plain = http.client.HTTPConnection("127.0.0.1", secured.exporter.port, timeout=10)
    plain.request("GET", "/metrics", headers=basic(PASSWORD))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        plain.getresponse()
    plain.close()


def test_the_lines_of_the_landing_page_work_with_the_variables_they_name(secured: Secured) -> None:
    page = secured.exporter.ask("GET", "/", headers=basic(PASSWORD)).text
    env = {
        **environment(),
        "COSTMETER_TOKEN": secured.token,
        "COSTMETER_USER": f"prometheus:{PASSWORD}",
        "CURL_CA_BUNDLE": str(secured.exporter.folder / "server.crt"),
    }

    assert '"accepted":1,' in paste(on_page(page, "first-event"), env)
    wait_until(
        lambda: 'tenant_id="default"' in paste(on_page(page, "month"), env),
        5,
        "spend of this month",
    )


def test_replay_sends_with_its_token(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = secured.exporter.folder
    (folder / "token").write_text(f"{secured.token}\n")
    (folder / "trace.ndjson").write_text(
        '{"timestamp": "2026-01-01T10:00:00Z", "provider": "openai", "model": "gpt-4o-mini",'
        ' "tenant_id": "replayed", "tokens": {"output": 1000}}\n'
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "server.crt"))
    url = f"https://127.0.0.1:{secured.exporter.port}"
    refused = run("replay", "trace.ndjson", "--url", url, cwd=folder)
    assert refused.returncode == 1
    assert "the exporter answered 401" in refused.stderr
    assert "Traceback" not in refused.stderr
    done = run("replay", "trace.ndjson", "--url", url, "--token-file", "token", cwd=folder)
    assert (done.returncode, done.stderr) == (
        0,
        "1 of 1 events: 1 accepted, 0 duplicate, 0 rejected\n",
    )


@pytest.mark.slow
def test_prometheus_scrapes_with_certificate_and_password(secured: Secured, tmp_path: Path) -> None:
    exporter = secured.exporter
    (tmp_path / "password").write_text(PASSWORD)
    trust = {"ca_file": str(exporter.folder / "server.crt")}
    scrape = {
        "scheme": "https",
        "tls_config": trust,
        "basic_auth": {"username": "prometheus", "password_file": str(tmp_path / "password")},
    }
    without = {"scheme": "https", "tls_config": trust}
    with (
        Prometheus(tmp_path / "right", [exporter.address], scrape=scrape) as right,
        Prometheus(tmp_path / "without", [exporter.address], scrape=without) as wrong,
    ):
        taken = exporter.post([call("scraped", tenant_id="scraped")], bearer(secured.token))
        assert taken.status == 200
        query = 'llm_cost_total{tenant_id="scraped"}'
        wait_until(lambda: right.value(query) == 0.00027, 30, "the counter in Prometheus")
        assert right.value("up") == 1
        assert wrong.value("up") == 0
        assert wrong.query("llm_cost_total") == {}


def test_no_secret_is_in_the_log_a_page_an_answer_or_the_ledger(secured: Secured) -> None:
    exporter = secured.exporter
    ask = exporter.ask
    answers = [
        ask(method, path, headers=headers)
        for method, path in (
            ("GET", "/"), ("GET", "/metrics"), ("GET", "/openapi.json"), ("GET", "/-/ready"),
            ("GET", "/nowhere"), ("POST", "/api/v1/usage"), ("POST", "/-/reload"),
        )
        for headers in ({}, basic(PASSWORD), basic(WRONG), bearer(secured.token), bearer(WRONG))
    ]  # fmt: skip
    # A reload that fails reads all of these files, and says why.
    whole = (exporter.folder / "web.yml").read_text()
    (exporter.folder / "web.yml").write_text(whole + "nonsense: 1\n")
    failed = ask("POST", "/-/reload", headers=basic(PASSWORD))
    (exporter.folder / "web.yml").write_text(whole)
    assert failed.status == 500
    assert "nonsense" in failed.text
    assert ask("POST", "/-/reload", headers=basic(PASSWORD)).status == 200
    seen = [one.body + str(one.headers).encode() for one in (*answers, failed)]
    seen.append(exporter.log.encode())
    seen += [path.read_bytes() for path in exporter.folder.glob("ledger.db*")]
    assert "level=info" in exporter.log
    for secret in secured.secrets:
        assert not any(secret in text for text in seen), secret


def test_the_command_line_shows_no_secret(secured: Secured) -> None:
    """Whoever may list processes sees file names, and nothing that is in the files."""
    process = secured.exporter.process
    assert process is not None
    line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert b"costmeter" in line
    assert not any(secret in line for secret in secured.secrets)
