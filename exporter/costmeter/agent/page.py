"""The agent's `/metrics`: samples as text, without a client library."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Sequence

from costmeter.metrics.catalog import CATALOG, FAMILIES, sample_labels
from costmeter.metrics.negotiate import OPENMETRICS_TYPE, TEXT_TYPE, wants_gzip, wants_openmetrics
from costmeter.metrics.text import escaped, header, named

_log = logging.getLogger("costmeter.agent")

#: (sample, label values in the catalog's order, value)
Sample = tuple[str, tuple[str, ...], float]
#: Beginnings of lines that are remembered; a node of eight cut GPUs has some 3,000.
_REMEMBERED = 20_000
_ORDER = {family.name: place for place, family in enumerate(FAMILIES)}
_GZIP = zlib.MAX_WBITS | 16


class Page:
    """Renders samples; used by one thread. The beginnings of lines are made once."""

    def __init__(self) -> None:
        self._starts: dict[tuple[str, tuple[str, ...]], tuple[str, str]] = {}
        self._faulty: set[str] = set()
        self._heads: dict[tuple[str, bool], str] = {}

    def render(
        self, samples: Iterable[Sample], openmetrics: bool, names: Sequence[str] = ()
    ) -> bytes:
        """The page in the catalog's order. `names` are the families to show, none for all."""
        wanted = frozenset(names)
        lines: dict[str, list[str]] = {}
        starts = self._starts
        if len(starts) > _REMEMBERED:
            starts.clear()
        for name, labels, value in samples:
            known = starts.get((name, labels))
            if known is None:
                known = self._known(name, labels)
                if known is None:
                    continue
                starts[name, labels] = known
            family, start = known
            line = f"{start}{number(value)}\n"
            if family in lines:
                lines[family].append(line)
            else:
                lines[family] = [line]
        parts: list[str] = []
        for name in sorted(lines, key=_ORDER.__getitem__):
            if wanted and not named(CATALOG[name], wanted):
                continue
            parts.append(self._head(name, openmetrics))
            parts += lines[name]
        if openmetrics:
            parts.append("# EOF\n")
        return "".join(parts).encode(errors="replace")

    def _known(self, name: str, labels: tuple[str, ...]) -> tuple[str, str] | None:
        """A sample's family and the beginning of its line. One that is not as the catalog says
        is left out and said once: it must not cost the page."""
        try:
            return _start(name, labels)
        except (KeyError, ValueError) as error:
            if name not in self._faulty:
                self._faulty.add(name)
                _log.error("%s is missing from /metrics: %r", name, error)
            return None

    def _head(self, name: str, openmetrics: bool) -> str:
        key = (name, openmetrics)
        if key not in self._heads:
            self._heads[key] = header(CATALOG[name], openmetrics).decode()
        return self._heads[key]


def answer(
    page: Page, samples: Iterable[Sample], accept: str, accept_encoding: str, names: Sequence[str]
) -> tuple[bytes, str, tuple[tuple[str, str], ...]]:
    """The body, its type and its headers, in the form that the client likes best."""
    openmetrics = wants_openmetrics(accept)
    body = page.render(samples, openmetrics, names)
    headers: tuple[tuple[str, str], ...] = (("vary", "accept, accept-encoding"),)
    if wants_gzip(accept_encoding):
        packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
        body = packer.compress(body) + packer.flush()
        headers += (("content-encoding", "gzip"),)
    return body, OPENMETRICS_TYPE if openmetrics else TEXT_TYPE, headers


def _start(name: str, labels: tuple[str, ...]) -> tuple[str, str]:
    """Raises KeyError and ValueError for a sample that is not as the catalog says."""
    family, known = sample_labels(name)
    pairs = ",".join(
        f'{label}="{escaped(value)}"' for label, value in zip(known, labels, strict=True)
    )
    return family, f"{name}{{{pairs}}} " if pairs else f"{name} "


def number(value: float) -> str:
    """As the formats spell it: whole numbers without a point."""
    if isinstance(value, int):
        return str(value)
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return "+Inf" if value == float("inf") else repr(value)
