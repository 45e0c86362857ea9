"""Settings of what comes over OTLP: which attribute of a span says what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Struct
from msgspec.structs import asdict

from costmeter.config.records import ListOf
from costmeter.config.spec import Setting
from costmeter.config.values import LABEL

_NAMES = ListOf(LABEL, "attribute names")


class OtlpAttributes(Struct, frozen=True):
    """Attributes of a span or of its resource; the first that is there counts."""

    tenant_id: Annotated[tuple[str, ...], Setting(_NAMES, "Whose call it was.")] = (
        "tenant.id",
        "tenant_id",
    )
    environment: Annotated[tuple[str, ...], Setting(_NAMES, "prod, staging, ...")] = (
        "deployment.environment.name",
        "deployment.environment",
    )
    team: Annotated[tuple[str, ...], Setting(_NAMES, "The team.")] = ("team.name", "team")
    project: Annotated[tuple[str, ...], Setting(_NAMES, "The project.")] = (
        "project.name",
        "project",
    )
    service: Annotated[tuple[str, ...], Setting(_NAMES, "The service.")] = ("service.name",)
    feature: Annotated[tuple[str, ...], Setting(_NAMES, "The feature.")] = (
        "feature.name",
        "feature",
    )
    user_id: Annotated[tuple[str, ...], Setting(_NAMES, "The user.")] = ("user.id", "enduser.id")
    session_id: Annotated[tuple[str, ...], Setting(_NAMES, "The conversation.")] = (
        "gen_ai.conversation.id",
        "session.id",
    )
    account: Annotated[
        tuple[str, ...], Setting(_NAMES, "The account with the provider, for scopes.")
    ] = ()
    region: Annotated[
        tuple[str, ...], Setting(_NAMES, "The provider's region, for prices and scopes.")
    ] = ()

    def by_field(self) -> Mapping[str, tuple[str, ...]]:
        return asdict(self)
