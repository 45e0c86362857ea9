"""Users under a keyed hash instead of their ids, before anything is stored."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from concurrent.futures import Future

from costmeter.ledger.door import Door, Verdict
from costmeter.model import Correction, Usage

#: What a pseudonym begins with; the rest is 128 bits in hexadecimal digits.
PREFIX = "pseudo:"
_REMEMBERED = 50_000


class Pseudonyms:
    """HMAC-SHA256 of organization and user id under a secret key, cut to 128 bits.

    The same user has the same pseudonym as long as the key is the same, and another one in
    another organization. Without the key nobody can tell which id it was by trying ids.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[tuple[str, str], str] = {}

    def of(self, tenant_id: str, user_id: str) -> str:
        """The pseudonym; no user stays no user."""
        if not user_id:
            return ""
        found = self._known.get((tenant_id, user_id))
        if found is None:
            text = f"{tenant_id}\0{user_id}".encode()
            found = PREFIX + hmac.new(self._key, text, "sha256").hexdigest()[:32]
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[tenant_id, user_id] = found
        return found

    def apply(self, usages: Sequence[Usage]) -> Sequence[Usage]:
        """The same records without ids of users."""
        return [
            usage._replace(user_id=self.of(usage.labels.tenant_id, usage.user_id))
            if usage.user_id
            else usage
            for usage in usages
        ]


class PseudonymousDoor:
    """The ledger's door behind which users have pseudonyms only."""

    def __init__(self, door: Door, pseudonyms: Pseudonyms) -> None:
        self._door = door
        self._pseudonyms = pseudonyms

    def submit(self, usages: Sequence[Usage]) -> Future[Sequence[Verdict]]:
        return self._door.submit(self._pseudonyms.apply(usages))

    def correct(self, corrections: Sequence[Correction]) -> Future[Sequence[Verdict]]:
        return self._door.correct(corrections)
