"""What the readers of spans and of data points share: their rules and their result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct, field

from costmeter.attribution import CATCH_ALL, Scope
from costmeter.ingest.events import Batch
from costmeter.ingest.refusal import Refused
from costmeter.ingest.window import Bounds, refuse_outside
from costmeter.model import Usage

NS_PER_MS = 1_000_000

#: Whose call it was; operators may name other attributes.
OWNER_ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "tenant_id": ("tenant.id", "tenant_id"),
        "environment": ("deployment.environment.name", "deployment.environment"),
        "team": ("team.name", "team"),
        "project": ("project.name", "project"),
        "service": ("service.name",),
        "feature": ("feature.name", "feature"),
        "user_id": ("user.id", "enduser.id"),
        "session_id": ("gen_ai.conversation.id", "session.id"),
        "account": (),
        "region": (),
    }
)


class Rules(Struct, frozen=True):
    """What an operator decides about OTLP.

    `owners` names the attributes of each field, the first that is there counts.
    `excludes_caches` names instrumentation scopes whose input leaves out the cached tokens.
    `scopes` are those of the ledger.
    """

    owners: Mapping[str, Sequence[str]] = field(default_factory=lambda: OWNER_ATTRIBUTES)
    excludes_caches: frozenset[str] = frozenset()
    scopes: tuple[Scope, ...] = (CATCH_ALL,)


class Read(Struct, frozen=True):
    """A body's batch, and what is not in it: how many pieces are no usage, by reason, and how
    many are only compared, by scope."""

    batch: Batch[Usage]
    ignored: Mapping[str, int] = field(default_factory=dict)
    observed: Mapping[str, int] = field(default_factory=dict)


def outside(name: str, at_ns: int, limits: Bounds) -> Refused:
    """Why an instant outside the bounds is refused. `name` is the field that says it."""
    if not at_ns:
        return Refused(name, "missing", code="missing")
    refused = refuse_outside(at_ns // NS_PER_MS, limits)
    if refused.code == "invalid":  # its advice is about milliseconds
        return Refused(name, "expected nanoseconds since 1970")
    return Refused(name, refused.reason, code=refused.code, retriable=refused.retriable)
