"""Forms of text that more than one section uses."""

from __future__ import annotations

from decimal import Decimal

from costmeter.config.kinds import Exact, Kind, Pattern

_VISIBLE = r"[^\x00-\x1f\x7f\ud800-\udfff]"

#: Something for people to read; it may have several lines.
PROSE: Kind[str] = Pattern(
    r"[^\x00-\x08\x0b-\x1f\x7f]{0,4000}", "a text", "up to 4000 characters of text", empty=True
)
#: A value of a label, as events carry it.
LABEL: Kind[str] = Pattern(
    rf"{_VISIBLE}{{1,256}}", "a label value", "1 to 256 characters on one line"
)
OPTIONAL_LABEL: Kind[str] = Pattern(
    rf"{_VISIBLE}{{1,256}}", "a label value", "up to 256 characters on one line", empty=True
)
#: How budgets, scopes and tokens are called.
NAME: Kind[str] = Pattern(
    r"[a-zA-Z0-9_.-]{1,128}", "a name", "up to 128 letters, digits, '_', '.' and '-'"
)
TIME_OF_DAY: Kind[str] = Pattern(
    r"([01][0-9]|2[0-3]):[0-5][0-9]", "a time of day", "it as HH:MM, such as 04:00"
)
PERCENT: Kind[Decimal] = Exact("a percentage", "a number over 0 and up to 100, such as 80", 100)
SHARE: Kind[Decimal] = Exact("a share", "a number over 0 and up to 1, such as 0.01", 1)
ADDRESS: Kind[str] = Pattern(
    # The port is checked for its range by its form: 0 to 65535.
    r"([A-Za-z0-9._-]{0,253}|\[[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9_.-]{1,32})?\])"
    r":(0|[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])",
    "an address with a port",
    "host:port such as 127.0.0.1:9952, or :9952 for every interface",
)
