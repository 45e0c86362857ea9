"""Labels that a bill carries as tags of its resources: which tag says which label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from costmeter.model import OTHER, UNATTRIBUTED, Labels
from costmeter.sources.options import Options
from costmeter.sources.reading import clean

_RESERVED = (OTHER, UNATTRIBUTED)


class TagKeys(NamedTuple):
    """The key of the tag that says each label; empty where no tag does."""

    tenant_id: str = ""
    environment: str = ""
    team: str = ""
    project: str = ""
    feature: str = ""

    @property
    def asked(self) -> tuple[str, ...]:
        """Every key that is looked at, each once."""
        return tuple(dict.fromkeys(key for key in self if key))

    def labels(self, labels: Labels, tags: Mapping[str, str]) -> Labels:
        """`labels` with what the tags say; a tag that is empty or missing changes nothing."""
        said = {name: clean(tags.get(key, "")) for name, key in self._asdict().items() if key}
        changes = {
            name: f"{value}-" if value in _RESERVED else value
            for name, value in said.items()
            if value
        }
        return labels._replace(**changes) if changes else labels


def tag_keys(options: Options) -> TagKeys:
    """From the options tenant_tag, environment_tag, team_tag, project_tag and feature_tag."""
    return TagKeys(
        tenant_id=options.word("tenant_tag", ""),
        environment=options.word("environment_tag", ""),
        team=options.word("team_tag", ""),
        project=options.word("project_tag", ""),
        feature=options.word("feature_tag", ""),
    )
