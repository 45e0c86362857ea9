"""Why our cost of a model differs by over 1 % from what a real ledger booked at the time.

The ledger is aider's public analytics: model, tokens and the cost that the tool worked
out from the price list it had. A row of `REASONS` says which prices the tool used and
which ones we use, both in USD per million tokens of input and of output; the tests
recompute every call of the model with both. So a row explains its difference to the
last digit, or fails.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

Prices = tuple[str, str]

FREE: Prices = ("0", "0")


class Reason(NamedTuple):
    """Prices of one model. `theirs` is None where the calls have several models' prices.

    `ours` has one pair for each price that holds at some hour; it is empty where the
    calls are unpriced. `odd` counts the calls of which the tool booked more than its
    price: it adds tokens found in a cache, which the file does not have. `cached` is the
    price by which that excess is whole tokens, and how many of them a cache holds at
    least. `corrected` is our price with the price file of docs/price-checks.md, where
    that has one.
    """

    kind: str
    calls: int
    theirs: Prices | None
    ours: tuple[Prices, ...] = ()
    odd: int = 0
    cached: tuple[str, int] = ("0", 0)
    corrected: tuple[Prices, ...] = ()


#: Our catalogue has no price of that day, only a later one; the price file has it.
UNDATED = "undated"
#: The tool's list had the price of an earlier day, or one that never held.
STALE = "stale"
#: Both: the catalogue's price is wrong for the day, and so is the tool's.
BOTH = "both"
#: Experimental and free at the time; the catalogue takes it for the model that followed.
EXPERIMENTAL = "experimental"
#: The catalogue does not know the name: unpriced, and the price file has the price.
UNKNOWN = "unknown"
#: The catalogue does not know the name, and nobody says what the model cost.
UNPRICED = "unpriced"
#: The file does not say which model it was.
NAMELESS = "nameless"

_DEEPSEEK_CHAT = (("0.27", "1.10"), ("0.135", "0.55"))
# All six calls were made in the hours that have a discount today.
_DEEPSEEK_REASONER = (("0.135", "0.55"),)
_GEMINI_PRO = (("1.25", "5"),)
_GEMINI_FLASH = (("0.075", "0.30"),)
_GEMINI_2_FLASH = (("0.10", "0.40"),)

REASONS: dict[str, Reason] = {
    # 22 calls before 2024-12-03 cost what the tool says, 42 after it what we say.
    "claude-3-5-haiku-20241022": Reason(
        BOTH,
        64,
        ("1", "5"),
        (("0.80", "4"),),
        odd=1,
        cached=("0.10", 1),
        corrected=(("1", "5"), ("0.80", "4")),
    ),
    "bedrock/us.anthropic.claude-3-5-haiku-20241022-v1:0": Reason(
        STALE, 1, ("1", "5"), (("0.80", "4"),)
    ),
    "openrouter/anthropic/claude-3-5-haiku-20241022": Reason(
        BOTH, 2, ("1", "5"), corrected=(("0.80", "4"),)
    ),
    "deepseek/deepseek-chat": Reason(
        UNDATED,
        381,
        ("0.14", "0.28"),
        _DEEPSEEK_CHAT,
        odd=12,
        cached=("0.014", 64),
        corrected=(("0.14", "0.28"),),
    ),
    "deepseek/deepseek-coder": Reason(
        UNKNOWN, 105, ("0.14", "0.28"), corrected=(("0.14", "0.28"),)
    ),
    "deepseek/deepseek-reasoner": Reason(
        UNDATED,
        6,
        ("0.55", "2.19"),
        _DEEPSEEK_REASONER,
        odd=2,
        cached=("0.01375", 64),
        corrected=(("0.55", "2.19"),),
    ),
    "openrouter/deepseek/deepseek-chat": Reason(
        UNDATED, 1, ("0.14", "0.28"), (("0.38", "0.89"),), corrected=(("0.14", "0.28"),)
    ),
    "openrouter/deepseek/deepseek-coder": Reason(
        UNKNOWN, 1, ("0.14", "0.28"), corrected=(("0.14", "0.28"),)
    ),
    "openrouter/qwen/qwen-2.5-coder-32b-instruct": Reason(
        UNDATED, 17, ("0.18", "0.18"), (("0.06", "0.15"),), corrected=(("0.18", "0.18"),)
    ),
    "openrouter/mistralai/mistral-large": Reason(STALE, 1, ("8", "24"), (("2", "6"),)),
    "mistral/codestral-latest": Reason(STALE, 1, ("1", "3"), (("0.30", "0.90"),)),
    "fireworks_ai/accounts/fireworks/models/deepseek-v3": Reason(
        UNKNOWN, 32, ("0.90", "0.90"), corrected=(("0.90", "0.90"),)
    ),
    "fireworks_ai/accounts/fireworks/models/deepseek-r1": Reason(
        UNKNOWN, 5, ("8", "8"), corrected=(("8", "8"),)
    ),
    "fireworks_ai/accounts/fireworks/models/qwen2p5-coder-32b-instruct": Reason(
        UNKNOWN, 1, ("0.90", "0.90"), corrected=(("0.90", "0.90"),)
    ),
    "gemini/gemini-1.5-pro": Reason(STALE, 2, ("3.50", "10.50"), _GEMINI_PRO),
    "gemini/gemini-1.5-pro-001": Reason(STALE, 2, ("3.50", "10.50"), _GEMINI_PRO),
    "gemini/gemini-1.5-pro-002": Reason(STALE, 2, ("3.50", "10.50"), _GEMINI_PRO),
    # The tool's list lacks a zero of the output's 10.50.
    "gemini/gemini-1.5-pro-latest": Reason(STALE, 6, ("3.50", "1.05"), _GEMINI_PRO),
    "gemini/gemini-1.5-flash-8b": Reason(
        BOTH, 5, FREE, _GEMINI_FLASH, corrected=(("0.0375", "0.15"),)
    ),
    "gemini/gemini-pro": Reason(
        BOTH, 2, ("0.35", "1.05"), (("0.125", "0.375"),), corrected=(("0.50", "1.50"),)
    ),
    "gemini/gemini-1.5-pro-exp-0801": Reason(
        BOTH, 2, ("3.50", "10.50"), _GEMINI_PRO, corrected=(FREE,)
    ),
    "gemini/gemini-1.5-pro-exp-0827": Reason(EXPERIMENTAL, 2, FREE, _GEMINI_PRO, corrected=(FREE,)),
    "gemini/gemini-1.5-flash-exp-0827": Reason(
        EXPERIMENTAL, 2, FREE, _GEMINI_FLASH, corrected=(FREE,)
    ),
    "gemini/gemini-1.5-flash-8b-exp-0827": Reason(
        EXPERIMENTAL, 5, FREE, _GEMINI_FLASH, corrected=(FREE,)
    ),
    "gemini/gemini-1.5-flash-8b-exp-0924": Reason(
        EXPERIMENTAL, 2, FREE, _GEMINI_FLASH, corrected=(FREE,)
    ),
    "gemini/gemini-2.0-flash-exp": Reason(
        EXPERIMENTAL, 1, FREE, _GEMINI_2_FLASH, corrected=(FREE,)
    ),
    "gemini/gemini-2.0-flash-thinking-exp": Reason(
        EXPERIMENTAL, 1, FREE, _GEMINI_2_FLASH, corrected=(FREE,)
    ),
    "gemini/gemini-exp-1114": Reason(UNKNOWN, 2, FREE, corrected=(FREE,)),
    "gemini/gemini-exp-1206": Reason(UNKNOWN, 1, FREE, corrected=(FREE,)),
    "gemini/gemini-gemma-2-27b-it": Reason(UNPRICED, 2, ("0.35", "1.05")),
    "gemini/gemini-gemma-2-9b-it": Reason(UNPRICED, 2, ("0.35", "1.05")),
    "gemini/gemini-pro-vision": Reason(UNPRICED, 2, ("0.35", "1.05")),
    "None": Reason(NAMELESS, 14, None),
    "anthropic/REDACTED": Reason(NAMELESS, 6, FREE),
    "bedrock/REDACTED": Reason(NAMELESS, 5, None),
    "deepinfra/REDACTED": Reason(NAMELESS, 1, FREE),
    "deepseek/REDACTED": Reason(NAMELESS, 15, None),
    "fireworks_ai/REDACTED": Reason(NAMELESS, 13, FREE),
    "gemini/REDACTED": Reason(NAMELESS, 31, FREE),
    "github/REDACTED": Reason(NAMELESS, 6, FREE),
    "groq/REDACTED": Reason(NAMELESS, 1, FREE),
    "lm_studio/REDACTED": Reason(NAMELESS, 1, FREE),
    "mistral/REDACTED": Reason(NAMELESS, 1, FREE),
    "ollama/REDACTED": Reason(NAMELESS, 63, FREE),
    "ollama_chat/REDACTED": Reason(NAMELESS, 8, FREE),
    "openai/REDACTED": Reason(NAMELESS, 11, None),
    "openrouter/REDACTED": Reason(NAMELESS, 12, None),
}


def nano(prices: Prices, sent: int, received: int) -> Decimal:
    """Exact nano-USD of a call."""
    return (Decimal(prices[0]) * sent + Decimal(prices[1]) * received) * 1_000
