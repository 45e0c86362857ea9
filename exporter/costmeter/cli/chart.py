"""Charts as SVG files: what was spent by day, what is expected, and what stands out.

Written by hand: an SVG opens in every browser and needs no library.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from pathlib import Path

from costmeter.cli.errors import CommandError

_SVG = "http://www.w3.org/2000/svg"
_WIDTH, _HEIGHT = 960, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 76, 64
_INK, _QUIET, _GRID = "#1f2430", "#667085", "#e4e7ec"
_SPENT, _AHEAD, _MARK = "#2563eb", "#d97706", "#dc2626"
_FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif\""

Point = tuple[date, float]
#: A day with the lower and the upper end.
Span = tuple[date, float, float]


@dataclass(frozen=True, slots=True)
class Chart:
    """Amounts in USD by day. `narrow` and `wide` are the 80 and 95 % bands of `ahead`."""

    title: str
    about: str = ""
    spent: Sequence[Point] = ()
    ahead: Sequence[Point] = ()
    narrow: Sequence[Span] = ()
    wide: Sequence[Span] = ()
    marks: Sequence[tuple[date, float, str]] = ()
    names: tuple[str, str] = ("spent", "forecast")


def check(path: Path | None) -> None:
    """Before anything is computed. CommandError for another ending than .svg."""
    if path is not None and path.suffix.lower() != ".svg":
        name = path.with_suffix(".svg").name if path.name else "chart.svg"
        raise CommandError(f"charts are SVG files; name it {path.parent / name}")


def save(path: Path, chart: Chart) -> None:
    """Write the chart. CommandError for another ending than .svg, and where it cannot be."""
    check(path)
    try:
        path.write_text(draw(chart), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None


def draw(chart: Chart) -> str:
    """The SVG's text. Days lie on the horizontal axis, from the first to the last one named."""
    days = [day for day, _ in (*chart.spent, *chart.ahead)]
    days += [day for day, _, _ in chart.wide]
    days += [day for day, _, _ in chart.marks]
    first, last = (min(days), max(days)) if days else (date(1970, 1, 1), date(1970, 1, 2))
    values = [usd for _, usd in (*chart.spent, *chart.ahead)]
    values += [usd for _, low, high in (*chart.narrow, *chart.wide) for usd in (low, high)]
    values += [usd for _, usd, _ in chart.marks]
    ticks = _ticks(min([0.0, *values]), max([0.0, *values]))
    low, high = ticks[0], ticks[-1]
    wide = max((last - first).days, 1)

    def x(day: date) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (day - first).days / wide

    def y(usd: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (usd - low) / (high - low)

    def line(points: Sequence[Point]) -> str:
        return " ".join(f"{x(day):.1f},{y(usd):.1f}" for day, usd in points)

    def band(spans: Sequence[Span]) -> str:
        upper = [(day, top) for day, _, top in spans]
        lower = [(day, bottom) for day, bottom, _ in reversed(spans)]
        return line([*upper, *lower])

    parts = [
        f'<svg xmlns="{_SVG}" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}">',
        f"<title>{escape(chart.title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_LEFT, 30, chart.title, size=17, ink=_INK, weight=600),
        _text(_LEFT, 52, chart.about, size=12.5),
    ]
    for usd in ticks:
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(usd):.1f}" y2="{y(usd):.1f}" '
            f'stroke="{_GRID}"/>'
        )
        parts.append(_text(_LEFT - 8, y(usd) + 4, _usd(usd, high), size=11.5, anchor="end"))
    parts += [
        _text(x(day), _HEIGHT - _BOTTOM + 20, f"{day:%d %b}", size=11.5, anchor="middle")
        for day in _dates(first, last)
    ]
    for spans, strength in ((chart.wide, 0.16), (chart.narrow, 0.26)):
        if spans:
            parts.append(
                f'<polygon points="{band(spans)}" fill="{_AHEAD}" fill-opacity="{strength}"/>'
            )
    for points, ink, dashes in ((chart.spent, _SPENT, ""), (chart.ahead, _AHEAD, "6 4")):
        if points:
            dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
            parts.append(
                f'<polyline points="{line(points)}" fill="none" stroke="{ink}" '
                f'stroke-width="2" stroke-linejoin="round"{dashed}/>'
            )
    for day, usd, text in chart.marks:
        parts.append(
            f'<circle cx="{x(day):.1f}" cy="{y(usd):.1f}" r="5" fill="{_MARK}">'
            f"<title>{escape(text)}</title></circle>"
        )
    parts += [*_legend(chart), "</svg>"]
    return "\n".join(parts) + "\n"


def _legend(chart: Chart) -> Iterable[str]:
    shown = [
        (chart.names[0], _SPENT, 1.0, bool(chart.spent)),
        (chart.names[1], _AHEAD, 1.0, bool(chart.ahead)),
        ("80 %", _AHEAD, 0.42, bool(chart.narrow)),
        ("95 %", _AHEAD, 0.16, bool(chart.wide)),
        ("anomaly", _MARK, 1.0, bool(chart.marks)),
    ]
    at = _LEFT
    for name, ink, strength, there in shown:
        if there:
            yield (
                f'<rect x="{at}" y="{_HEIGHT - 25}" width="14" height="10" rx="2" '
                f'fill="{ink}" fill-opacity="{strength}"/>'
            )
            yield _text(at + 20, _HEIGHT - 16, name, size=12)
            at += 44 + 7 * len(name)


def _text(
    at: float,
    down: float,
    text: str,
    *,
    size: float,
    ink: str = _QUIET,
    anchor: str = "start",
    weight: int = 400,
) -> str:
    return (
        f'<text x="{at:.1f}" y="{down:.1f}" {_FONT} font-size="{size}" fill="{ink}" '
        f'text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round amounts that hold all values between them."""
    reach = high - low or 1.0
    step = 10.0 ** math.floor(math.log10(reach / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if reach / (step * factor) <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _dates(first: date, last: date) -> list[date]:
    span = max((last - first).days, 1)
    step = max(1, math.ceil(span / 8))
    return [date.fromordinal(first.toordinal() + back) for back in range(0, span + 1, step)]


def _usd(amount: float, most: float) -> str:
    places = 0 if most >= 10 else 2 if most >= 0.1 else 4
    return f"${amount:,.{places}f}" if amount >= 0 else f"-${-amount:,.{places}f}"
