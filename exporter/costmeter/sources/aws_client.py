"""Calls to AWS through boto3, within the allowance and the patience of a source.

boto3's own retries are off: a call is tried again here, where each try is counted and
paid for. Credentials come from the source's key, or from where boto3 looks for them; a
role is assumed with them and renewed before it ends.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from costmeter import __version__
from costmeter.sources.allowance import AllowanceSpent
from costmeter.sources.aws_errors import source_error
from costmeter.sources.contract import Desk, Settings, SourceError
from costmeter.sources.options import Options
from costmeter.sources.reading import Row, malformed
from costmeter.sources.secret import SecretError

_MOST_TRIES = 4
_LONGEST_PAUSE_MS = 60_000
_FIRST_PAUSE_MS = 1_000
#: What heals by repetition within a poll.
_HEALING = frozenset({"throttled", "server", "timeout", "network", "malformed"})
_RENEWED_BEFORE_MS = 300_000
_ROLE_SECONDS = 3_600
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/.{1,512}")


class Keys(NamedTuple):
    access: str
    secret: str
    token: str | None = None

    def __repr__(self) -> str:
        return "Keys(hidden)"


class Call(NamedTuple):
    """An operation of a service, what its answer always holds, and what it costs."""

    service: str
    region: str
    operation: str
    needs: str
    nano: int = 0


class Aws:
    """One identity at AWS; takes the options profile, role_arn and external_id."""

    def __init__(self, settings: Settings, options: Options) -> None:
        """Raises ValueError where boto3 is missing, or for settings that cannot be used."""
        try:
            import boto3  # noqa: F401
        except ImportError:
            raise ValueError("needs boto3; install it with: pip install 'costmeter[aws]'") from None
        # At the level debug it writes down requests and answers, and with them credentials.
        logging.getLogger("botocore").setLevel(logging.WARNING)
        parts = urlsplit(settings.base_url)
        if settings.base_url and (parts.scheme not in ("https", "http") or not parts.hostname):
            raise ValueError(
                f"{settings.base_url!r} is no base URL; write one like http://localhost:4566"
            )
        self._secret = settings.secret
        self._base_url = settings.base_url or None
        self._timeout_seconds = settings.timeout_seconds
        self._profile = options.word("profile", "") or None
        self._role = options.word("role_arn", "")
        self._external_id = options.word("external_id", "")
        if self._role and not _ROLE.fullmatch(self._role):
            raise ValueError(
                f"option role_arn={self._role} is no role; "
                "write one like arn:aws:iam::111122223333:role/costmeter"
            )
        if self._external_id and not self._role:
            raise ValueError("option external_id needs role_arn beside it")
        if self._profile and settings.secret.named:
            raise ValueError("option profile stands beside a key; keep one of them")
        self._clients: dict[tuple[str, str], tuple[Keys | None, Any]] = {}
        self._assumed: tuple[Keys | None, Keys, int] | None = None

    def __repr__(self) -> str:
        return f"Aws({self._role or self._profile or 'own credentials'})"

    def call(self, desk: Desk, what: Call, arguments: Row) -> Row:
        """The answer to a call, passing trouble waited out; raises SourceError."""
        return self._patiently(desk, what, arguments, self._keys(desk, what.region))

    def _patiently(self, desk: Desk, what: Call, arguments: Row, keys: Keys | None) -> Row:
        for attempt in range(1, _MOST_TRIES + 1):
            try:
                return self._once(desk, what, arguments, keys)
            except SourceError as error:
                if error.reason not in _HEALING:
                    raise
                wait = error.retry_after_ms
                wait = _FIRST_PAUSE_MS << (attempt - 1) if wait is None else wait
                if attempt == _MOST_TRIES or wait > _LONGEST_PAUSE_MS:
                    raise
                if desk.pause(wait / 1000):
                    raise SourceError("stopped", "the exporter is stopping") from None
        raise AssertionError("the last attempt returns or raises")

    def _once(self, desk: Desk, what: Call, arguments: Row, keys: Keys | None) -> Row:
        try:
            client = self._client(what.service, what.region, keys)
        except Exception as error:  # noqa: BLE001 - each way to fail gets its reason
            raise source_error(error, what.service, desk.clock.now_ms()) from None
        try:
            desk.allowance.take(desk.clock.now_ms(), what.nano)
        except AllowanceSpent as error:
            raise SourceError("budget", str(error), error.wait_ms) from None
        try:
            answer = getattr(client, what.operation)(**arguments)
        except Exception as error:  # noqa: BLE001 - each way to fail gets its reason
            said = source_error(error, what.service, desk.clock.now_ms())
            if said.reason == "credentials":
                self._forget()
            raise said from None
        # boto3 takes an answer that is cut off for one in which nothing stands.
        if not isinstance(answer, Mapping) or what.needs not in answer:
            raise malformed(what.service, f"the answer has no {what.needs}; it may be cut off")
        return answer

    def _forget(self) -> None:
        """Credentials may have been rotated: the next call looks for them anew."""
        self._clients.clear()
        self._assumed = None

    def _client(self, service: str, region: str, keys: Keys | None) -> Any:
        known = self._clients.get((service, region))
        if known is not None and known[0] == keys:
            return known[1]
        import boto3
        from botocore.config import Config

        client = boto3.Session(profile_name=self._profile).client(
            service,
            region_name=region,
            endpoint_url=self._base_url,
            # As every other source does; boto3 by itself has other names for it.
            verify=os.environ.get("SSL_CERT_FILE") or None,
            aws_access_key_id=None if keys is None else keys.access,
            aws_secret_access_key=None if keys is None else keys.secret,
            aws_session_token=None if keys is None else keys.token,
            config=Config(
                retries={"total_max_attempts": 1, "mode": "standard"},
                connect_timeout=min(10, self._timeout_seconds),
                read_timeout=self._timeout_seconds,
                # Calls go straight to the provider; {} keeps the environment's proxy out.
                proxies={},
                user_agent_extra=f"costmeter/{__version__}",
            ),
        )
        self._clients[service, region] = (keys, client)
        return client

    def _keys(self, desk: Desk, region: str) -> Keys | None:
        """What a call is signed with; None leaves it to boto3."""
        own = self._own()
        if not self._role:
            return own
        now_ms = desk.clock.now_ms()
        if self._assumed is not None:
            by, keys, until_ms = self._assumed
            if by == own and now_ms < until_ms - _RENEWED_BEFORE_MS:
                return keys
        asked: dict[str, object] = {
            "RoleArn": self._role,
            "RoleSessionName": "costmeter",
            "DurationSeconds": _ROLE_SECONDS,
        }
        if self._external_id:
            asked["ExternalId"] = self._external_id
        what = Call("sts", region, "assume_role", "Credentials")
        answer = self._patiently(desk, what, asked, own)
        keys, until_ms = _role_keys(answer)
        self._assumed = (own, keys, until_ms)
        return keys

    def _own(self) -> Keys | None:
        if not self._secret.named:
            return None
        try:
            parts = self._secret.read().split(":")
        except SecretError as error:
            raise SourceError("credentials", str(error)) from None
        if len(parts) not in (2, 3) or not all(parts):
            raise SourceError(
                "credentials",
                f"{self._secret!r} holds no key of AWS; write ACCESS_KEY_ID:SECRET_ACCESS_KEY",
            )
        return Keys(*parts)


def region_of(text: str) -> str:
    """A region's name; raises ValueError for what cannot be one."""
    if not _REGION.fullmatch(text):
        raise ValueError(f"{text!r} is no region of AWS; write one like us-east-1")
    return text


def _role_keys(answer: Row) -> tuple[Keys, int]:
    found = answer.get("Credentials")
    if not isinstance(found, Mapping) or not isinstance(found.get("Expiration"), datetime):
        raise malformed("Credentials", "missing in the answer of sts")
    keys = Keys(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
    return keys, int(found["Expiration"].timestamp()) * 1000
