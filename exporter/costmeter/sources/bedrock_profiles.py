"""Which model a ModelId is: a model, a system's inference profile, or one of your own.

An application inference profile has an id that says nothing, a name, the models behind it
and tags: it is how Bedrock tells the callers of one model apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from costmeter.model import MS_PER_DAY
from costmeter.sources.aws_client import Aws, Call
from costmeter.sources.contract import Desk, SourceError
from costmeter.sources.pages import MOST_PAGES
from costmeter.sources.reading import Row, rows, text

#: The ids of application profiles; every id of a model has a dot.
_OWN = re.compile(r"[a-z0-9]{8,32}")
_NO_TAGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Model:
    """A model's id as price lists know it, and the profile that it was called through."""

    name: str
    project: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: _NO_TAGS)


class Profiles:
    """Knows the application profiles of each region; asks for them at most once a day."""

    def __init__(self, aws: Aws, asks: bool, *, tags: bool) -> None:
        self._aws = aws
        self._asks = asks
        self._tags = tags
        self._known: dict[str, tuple[int, dict[str, Model]]] = {}

    def resolve(self, desk: Desk, region: str, model_ids: Iterable[str]) -> Mapping[str, Model]:
        """The model of each ModelId. One that nobody knows keeps its id."""
        plain = {said: model_name(said) for said in model_ids}
        known: Mapping[str, Model] = {}
        if self._asks and any(_OWN.fullmatch(name) for name in plain.values()):
            known = self._of(desk, region, set(plain.values()))
        return {said: known.get(name) or Model(name) for said, name in plain.items()}

    def _of(self, desk: Desk, region: str, names: set[str]) -> Mapping[str, Model]:
        day = desk.clock.now_ms() // MS_PER_DAY
        asked, known = self._known.get(region, (-1, {}))
        if asked == day and all(name in known for name in names if _OWN.fullmatch(name)):
            return known
        known = dict(known) if asked == day else {}
        for row in self._listed(desk, region):
            name, arn = text(row, "inferenceProfileId"), str(row.get("inferenceProfileArn"))
            behind = rows(row, "models") if row.get("models") else ()
            if name not in names or name in known or not behind:
                continue
            # Several models are one in several regions.
            model = Model(model_name(str(behind[0].get("modelArn"))))
            model = replace(model, project=text(row, "inferenceProfileName"))
            if self._tags:
                model = replace(model, tags=self._tags_of(desk, region, arn))
            known[name] = model
        self._known[region] = (day, known)
        return known

    def _listed(self, desk: Desk, region: str) -> list[Row]:
        found: list[Row] = []
        asked: dict[str, str] = {"typeEquals": "APPLICATION"}
        what = Call("bedrock", region, "list_inference_profiles", "inferenceProfileSummaries")
        for _ in range(MOST_PAGES):
            answer = self._aws.call(desk, what, asked)
            found += rows(answer, "inferenceProfileSummaries")
            token = answer.get("nextToken")
            if not token:
                return found
            if token == asked.get("nextToken"):
                break
            asked["nextToken"] = token
        raise SourceError("repeated_page", "a page names one as the next that was read")

    def _tags_of(self, desk: Desk, region: str, arn: str) -> Mapping[str, str]:
        asked = {"resourceARN": arn}
        what = Call("bedrock", region, "list_tags_for_resource", "tags")
        answer = self._aws.call(desk, what, asked)
        return {text(tag, "key"): text(tag, "value") for tag in rows(answer, "tags")}


def model_name(model_id: str) -> str:
    """An id without what an ARN puts before it."""
    if not model_id.startswith("arn:"):
        return model_id
    return model_id.split(":", 5)[-1].rpartition("/")[2]
