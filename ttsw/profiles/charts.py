"""Charts as SVG: lines over the number of sessions, and a bar of what memory holds. All texts are escaped here."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from statistics import median
from typing import NamedTuple

WIDTH, HEIGHT = 560, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 34
TICK_ROOM = 24


class Line(NamedTuple):
    """A line.

    Args:
        name: What it shows.
        points: Sessions and value, by rising sessions. Where a number of sessions comes several times, the line goes
            through the median of its values.
    """

    name: str
    points: Sequence[tuple[float, float]]


def line_chart(title: str, unit: str, lines: Sequence[Line], *, limit: float | None = None, top: float = 0.0) -> str:
    """Draw lines over sessions.

    Args:
        title: What it is, for those who can't see it.
        unit: What is on the vertical axis.
        lines: Lines; the nth has the class `line-n`.
        limit: Where a line across marks what must be kept to.
        top: The least that the vertical axis reaches to.
    """
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    most = max(x for x, _ in points)
    highest = nice(max([top, limit or 0.0, *(y for _, y in points)]))

    def x(sessions: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (0.5 if most <= 1 else (sessions - 1) / (most - 1))

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / highest

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *(_level(y(highest * step / 4), f"{highest * step / 4:g}") for step in range(5)),
        *(_tick(place, f"{sessions:g}") for sessions, place in _ticks({at: x(at) for at, _ in points})),
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">sessions at once</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 4}">{escape(unit)}</text>',
    ]
    if limit is not None:
        parts.append(f'<line class="slo" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(limit):.1f}" y2="{y(limit):.1f}"/>')
        parts.append(
            f'<text class="slo" x="{WIDTH - RIGHT}" y="{y(limit) - 4:.1f}" text-anchor="end">SLO {limit:g}</text>'
        )
    for number, line in enumerate(lines):
        places = [(x(at), y(value), at, value) for at, value in line.points]
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in medians(line.points))
        parts.append(f'<polyline class="line-{number}" points="{path}"/>')
        parts += [
            f'<circle class="line-{number}" cx="{left:.1f}" cy="{down:.1f}" r="3"><title>{escape(line.name)}, {at:g} '
            f"sessions: {value:.4g}</title></circle>"
            for left, down, at, value in places
        ]
    return "".join([*parts, "</svg>", _legend((f"line-{n}", line.name) for n, line in enumerate(lines))])


def memory_bar(title: str, parts: Sequence[tuple[str, float]], total: float) -> str:
    """Draw what memory holds, as shares of `total`; what isn't named is free."""
    drawn, left = [f'<svg viewBox="0 0 {WIDTH} 36" role="img" aria-label="{escape(title)}">'], 0.0
    drawn.append(f'<rect class="free" x="0" y="2" width="{WIDTH}" height="32" rx="3"/>')
    for number, (name, size) in enumerate(parts):
        wide = WIDTH * size / total if total > 0 else 0.0
        drawn.append(
            f'<rect class="part-{number % 6}" x="{left:.1f}" y="2" width="{wide:.1f}" height="32">'
            f"<title>{escape(name)}: {size:.0f} MB</title></rect>"
        )
        left += wide
    names = [(f"part-{n % 6}", f"{name}: {size:.0f} MB") for n, (name, size) in enumerate(parts)]
    rest = total - sum(size for _, size in parts)
    return "".join([*drawn, "</svg>", _legend([*names, ("free", f"free: {max(0.0, rest):.0f} MB")])])


def nice(value: float) -> float:
    """Round up to a number that reads well on an axis.

    >>> [nice(value) for value in (0, 5e-324, 0.07, 3.1, 101, 2000)]
    [1.0, 1.0, 0.08, 4.0, 200.0, 2000.0]
    """
    if value < 1e-300:  # its power of ten may be no number
        return 1.0
    power = float(f"1e{f'{value:e}'.partition('e')[2]}")
    return next(float(f"{step * power:.6g}") for step in (1, 2, 4, 6, 8, 10) if step * power >= value * (1 - 1e-9))


def medians(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Put one point for each number of sessions, in the middle of those there are.

    >>> medians([(1, 5.0), (4, 7.0), (4, 9.0), (4, 20.0)])
    [(1, 5.0), (4, 9.0)]
    """
    values: dict[float, list[float]] = {}
    for at, value in points:
        values.setdefault(at, []).append(value)
    return [(at, median(values[at])) for at in sorted(values)]


def _ticks(places: Mapping[float, float]) -> list[tuple[float, float]]:
    """Choose values to be named on the horizontal axis: the highest, and of the others those that leave room."""
    chosen: list[tuple[float, float]] = []
    for value in sorted(places, reverse=True):
        if not chosen or chosen[-1][1] - places[value] >= TICK_ROOM:
            chosen.append((value, places[value]))
    return chosen[::-1]


def _level(y: float, text: str) -> str:
    line = f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'{line}<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>'


def _tick(x: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{escape(text)}</text>'


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    items = "".join(f'<li><i class="{kind}"></i>{escape(name)}</li>' for kind, name in entries)
    return f'<ul class="legend">{items}</ul>'
