"""Who consumed it: the checked label tuple of an event, remembered by its raw fields."""

from __future__ import annotations

from typing import NamedTuple

from costmeter.ingest.event import MAX_TEXT
from costmeter.ingest.refusal import Refused
from costmeter.model import DEFAULT_TENANT, OTHER, UNATTRIBUTED, Labels
from costmeter.pricing.providers import canonical_provider

#: Combinations remembered; on overflow all are forgotten. One takes 1 kB, and 10 kB when a
#: hostile sender fills every field, so this stays under 40 MB.
REMEMBERED = 4096

RawOwner = tuple[str | None, ...]


class Caller(NamedTuple):
    """The credential behind a request: its feed, and the tenant that it is bound to."""

    feed: str
    tenant_id: str | None = None


#: The order of the raw fields that `Owners.labels` takes.
RAW_FIELDS = (
    "tenant_id",
    "provider",
    "model",
    "account",
    "region",
    "environment",
    "team",
    "project",
    "service",
    "feature",
    "operation",
    "purpose",
)


class Owners:
    """Checks label values once per distinct combination."""

    def __init__(self) -> None:
        self._known: dict[tuple[str | None, RawOwner], Labels] = {}

    def labels(self, bound_tenant: str | None, raw: RawOwner) -> Labels:
        """Labels for the raw fields in the order of `RAW_FIELDS`; raises Refused."""
        key = (bound_tenant, raw)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[key] = _labels(bound_tenant, raw)
        return known


def _labels(bound_tenant: str | None, raw: RawOwner) -> Labels:
    field = {
        name: clean_label(name, value or "") for name, value in zip(RAW_FIELDS, raw, strict=True)
    }
    for name in ("provider", "model"):
        if not field[name]:
            raise Refused(name, "missing", code="missing")
    return Labels(
        tenant_id=tenant_of(bound_tenant, field["tenant_id"]),
        category="llm_api",
        purpose=field["purpose"] or "inference",
        provider=clean_provider(field["provider"]),
        account=field["account"],
        region=field["region"],
        model=field["model"],
        environment=field["environment"],
        team=field["team"],
        project=field["project"],
        service=field["service"],
        feature=field["feature"],
        operation=field["operation"] or "generation",
    )


def tenant_of(bound_tenant: str | None, said: str) -> str:
    """The tenant that an event books for; raises Refused when the credential forbids it."""
    if said in (OTHER, UNATTRIBUTED):
        raise Refused("tenant_id", f"{said} is reserved; name a tenant", code="tenant")
    if bound_tenant is None:
        return said or DEFAULT_TENANT
    if said and said != bound_tenant:
        raise Refused(
            "tenant_id",
            "not allowed: this token books for one tenant, and it is another one",
            code="tenant",
        )
    return bound_tenant


def clean_provider(text: str) -> str:
    """The provider's one name; the colon separates it from ids."""
    if ":" in text:
        raise Refused("provider", "a provider's name holds no colon")
    return canonical_provider(text)


def clean_label(name: str, text: str) -> str:
    text = clean_text(name, text).strip()
    if text == OTHER:
        raise Refused(
            name, f"{OTHER} is reserved", code="tenant" if name == "tenant_id" else "invalid"
        )
    return text


def clean_text(name: str, text: str) -> str:
    """The same text; raises Refused for control characters and for more than 200."""
    if not text.isprintable() and any(is_control(letter) for letter in text):
        raise Refused(name, "control characters are not allowed")
    if len(text) > MAX_TEXT:
        raise Refused(name, f"expected a text of at most {MAX_TEXT} characters")
    return text


def is_control(letter: str) -> bool:
    return letter < " " or "\x7f" <= letter <= "\x9f"
