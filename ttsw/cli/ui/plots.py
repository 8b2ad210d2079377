"""Lines over the number of sessions, drawn in a terminal with Braille's dots: two a column, four a row."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.text import Text

from ttsw.profiles.charts import nice

WIDTH, HEIGHT = 56, 10
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Braille's bits by row and column of a cell."""
_BLANK = 0x2800


class Series(NamedTuple):
    """A line.

    Args:
        name: What it shows.
        colour: As rich names it.
        points: Sessions and value, by rising sessions.
    """

    name: str
    colour: str
    points: Sequence[tuple[float, float]]


def plot(
    title: str, series: Sequence[Series], *, limit: float | None = None, top: float = 0.0, width: int = WIDTH
) -> list[Text]:
    """Draw lines; those named later lie on top. Nothing to draw gives nothing.

    Args:
        title: What is shown, with its unit.
        series: The lines.
        limit: Where a line across marks the SLO.
        top: The least that the vertical axis reaches to.
        width: Columns of the drawing, axis left out.
    """
    points = [point for each in series for point in each.points]
    if not points:
        return []
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    highest = nice(max([top, limit or 0.0, *(y for _, y in points)]))
    cells: dict[tuple[int, int], tuple[int, str]] = {}
    for each in series:
        for column, row in _trace(each.points, (first, last), highest, width):
            key = (row // 4, column // 2)
            bits = cells.get(key, (0, ""))[0] | _DOTS[row % 4][column % 2]
            cells[key] = (bits, each.colour)
    mark = None if limit is None else _row(limit, highest) // 4
    lines = [_heading(title, series, limit)]
    for row in range(HEIGHT):
        value = highest * (HEIGHT - 1 - row) / (HEIGHT - 1)
        label = f"{_label(value)} ┤" if row % 3 == 0 or row == mark else " " * 9 + "│"
        if row == mark and limit is not None:
            label = f"{_label(limit)} ┤"
        line = Text(label, style="dim")
        for column in range(width):
            bits, colour = cells.get((row, column), (0, ""))
            line.append(chr(_BLANK + bits), colour) if bits else line.append("┄" if row == mark else " ", "red")
        lines.append(line)
    ends = f"{first:g}" + f"{last:g}".rjust(width - len(f"{first:g}")) if last > first else f"{first:g}".center(width)
    return [*lines, Text(f"{' ' * 9}└{'─' * width}", "dim"), Text(f"{' ' * 10}{ends}  sessions", "dim")]


def _heading(title: str, series: Sequence[Series], limit: float | None) -> Text:
    heading = Text(f"{title}  ", "bold")
    for each in series:
        heading.append(f"⠶ {each.name}  ", each.colour)
    return heading.append(f"┄ SLO {limit:g}", "red") if limit is not None else heading


def _label(value: float) -> str:
    text = f"{value:.4g}"
    return f"{text if len(text) <= 8 else f'{value:.2g}':>8}"


def _trace(
    points: Sequence[tuple[float, float]], span: tuple[float, float], highest: float, width: int
) -> Iterator[tuple[int, int]]:
    """Give the dots of a line, column and row."""
    first, last = span

    def column(x: float) -> int:
        return width if last <= first else round((x - first) / (last - first) * (2 * width - 1))

    places = [(column(x), y) for x, y in points]
    for (x0, y0), (x1, y1) in zip(places, places[1:] or places, strict=False):
        for x in range(x0, x1 + 1):
            y = y0 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
            yield x, _row(y, highest)


def _row(value: float, highest: float) -> int:
    return round((1 - min(value, highest) / highest) * (4 * HEIGHT - 1))
