"""Every link within the project leads to a file, and to a heading that is in it."""

import re
import unicodedata
from pathlib import Path

import pytest

from docs.pages import PAGES, ROOT, RUNBOOKS

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text("utf-8")), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        kept = [
            char
            for char in plain.strip().lower()
            if char in " -_" or unicodedata.category(char)[0] in "LN"
        ]
        found.add("".join(kept).replace(" ", "-"))
    return found


def broken(page: Path, text: str) -> list[str]:
    """The links in `text`, as it would stand on `page`, that lead nowhere."""
    wrong = []
    for link in _LINK.findall(_BLOCK.sub("", text)):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or not target.is_relative_to(ROOT):
            wrong.append(link)
            continue
        if anchor and (target.suffix != ".md" or anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", [*PAGES, *RUNBOOKS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page, page.read_text("utf-8")) == []


def test_a_broken_link_is_found() -> None:
    text = "[a](docs/nothing.md) [b](#licence) [c](#nowhere) [d](docs/metrics.md#labels) [e](../x)"
    assert broken(ROOT / "README.md", text) == ["docs/nothing.md", "#nowhere", "../x"]


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    linked = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in _LINK.findall(index)}
    pages = {page for page in (ROOT / "docs").glob("*.md") if page.name != "index.md"}
    assert pages - linked == set()


def test_decisions_are_numbered_without_gaps() -> None:
    names = sorted(page.name for page in (ROOT / "docs" / "decisions").glob("*.md"))
    assert [name[:4] for name in names] == [f"{n:04}" for n in range(1, len(names) + 1)]
    for name in names:
        page = (ROOT / "docs" / "decisions" / name).read_text("utf-8")
        assert page.startswith(f"# {int(name[:4])}. "), name
        assert "**Decision.**" in page, name
