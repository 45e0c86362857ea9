"""Pseudonyms: the same for the same user, another one elsewhere, and none for nobody."""

from __future__ import annotations

import hashlib
import hmac

from costmeter.ingest.pseudonym import PREFIX, PseudonymousDoor, Pseudonyms
from fakes.door import MemoryDoor
from faults.ledgers import usage

KEY = b"0123456789abcdef0123456789abcdef"


def test_it_is_the_keyed_hash_of_tenant_and_user() -> None:
    digest = hmac.new(KEY, b"acme\0u-1", hashlib.sha256).hexdigest()
    assert Pseudonyms(KEY).of("acme", "u-1") == PREFIX + digest[:32]


def test_whose_it_is_depends_on_tenant_key_and_user() -> None:
    one, other = Pseudonyms(KEY), Pseudonyms(KEY[::-1])
    named = {one.of("acme", "u"), one.of("globex", "u"), one.of("acme", "v"), other.of("acme", "u")}
    assert len(named) == 4
    # The pair is hashed with its border: (ab, c) is not (a, bc).
    assert one.of("ab", "c") != one.of("a", "bc")


def test_nobody_stays_nobody_and_the_rest_of_a_record_stays() -> None:
    silent, said = usage(1, 0), usage(2, 0)._replace(user_id="u", session_id="s")
    pseudonyms = Pseudonyms(KEY)
    first, second = pseudonyms.apply([silent, said])
    assert first is silent
    assert second == said._replace(user_id=pseudonyms.of("acme", "u"))


def test_the_door_stores_pseudonyms_only() -> None:
    inner = MemoryDoor()
    door = PseudonymousDoor(inner, Pseudonyms(KEY))
    door.submit([usage(1, 0)._replace(user_id="u")]).result()
    assert [one.user_id for one in inner.usages] == [Pseudonyms(KEY).of("acme", "u")]
