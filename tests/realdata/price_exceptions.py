"""Where our price of a real body differs from the expected one, and why.

Two things can differ. Our reading of the body may: `normalise.exceptions` has a row for
each reason, and `READING` says how many prices it changes. Or the figures do: the
expected prices are those of a price list of August 2026, ours are those of the
catalogue in the package, which has learned of some changes only later. `FIGURES` has
these, and each kind is proved in another way:

- dated: the catalogue dates a change that the August list had missed. On the day before
  the change our price is the expected one.
- corrected: a figure of the August list was wrong and is not in the catalogue at all.
- added: the August list has no price for a class, and adds nothing for it.
- nameless: the list knows the model without any figure, and takes that for free. Here
  such a call is unpriced.

All but those with `listed` False are also proved from the August list itself: its figures times the
expected usage are the expected price, to the last digit.
"""

from __future__ import annotations

from typing import NamedTuple


class Figures(NamedTuple):
    """A model whose figures differ. `since` is the day of a dated change."""

    kind: str
    sellers: frozenset[str]
    models: frozenset[str]
    reason: str
    cases: int
    since: str = ""
    classes: frozenset[str] = frozenset()
    listed: bool = True


FIGURES = (
    Figures(
        "dated",
        frozenset({"openai", "azure"}),
        frozenset({"gpt-5.6-sol"}),
        "5 / 30 USD became 4 / 20 USD a million tokens on the day of the list",
        cases=7,
        since="2026-08-21",
    ),
    Figures(
        "dated",
        frozenset({"aws"}),
        frozenset({"openai.gpt-5.6-luna"}),
        "1.10 / 6.60 USD became 0.22 / 1.32 USD",
        cases=2,
        since="2026-07-30",
        listed=False,
    ),
    Figures(
        "dated",
        frozenset({"mistral"}),
        frozenset({"mistral-medium-latest"}),
        "the name moved from Medium 3.1 (0.40 / 2 USD) to 3.5 (1.50 / 7.50 USD)",
        cases=8,
        since="2026-06-16",
    ),
    Figures(
        "dated",
        frozenset({"mistral"}),
        frozenset({"mistral-small-latest"}),
        "the name moved from Small 3.2 (0.10 / 0.30 USD) to Small 4 (0.15 / 0.60 USD)",
        cases=1,
        since="2026-03-16",
    ),
    Figures(
        "corrected",
        frozenset({"mistral"}),
        frozenset({"ministral-8b-latest"}),
        "the list has 1 USD for output; it was 0.10 USD, and is 0.15 USD since 2025-12-02",
        cases=1,
    ),
    Figures(
        "added",
        frozenset({"anthropic"}),
        frozenset({"claude-sonnet-4-20250514", "claude-sonnet-4-5-20250929"}),
        "a web search costs 0.01 USD; the list has no price for it",
        cases=2,
        classes=frozenset({"web_searches"}),
    ),
    Figures(
        "nameless",
        frozenset({"cerebras"}),
        frozenset({"qwen-3-coder-480b"}),
        "no figure is known: expected 0, here unpriced",
        cases=1,
    ),
)

#: Prices that change with a row of `normalise.exceptions`.
READING = {
    "chat read as an embedding": 84,
    "searches not read elsewhere": 8,
    "responses read as messages": 7,
    "Mistral's cached tokens not read": 5,
    "messages read as responses": 5,
    "cache writes not read": 1,
}
