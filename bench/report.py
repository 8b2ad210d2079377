"""Figures, what they are held against, and how they are shown. A figure that was not measured is not there."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

Sense = Literal["<=", "<", ">="]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    Args:
        name: What it is.
        value: What was measured.
        unit: Its unit; empty for a ratio.
        target: What it is to be, with `sense`; None for one that is only recorded.
        sense: On which side of the target it passes.
        reference: The same of what it is compared with.
        ratio: `value` over `reference`, from the same rounds.
        target_is_ratio: Whether the target is for the ratio.
        note: How it came about, in a few words.
    """

    name: str
    value: float
    unit: str = ""
    target: float | None = None
    sense: Sense = "<="
    reference: float | None = None
    ratio: float | None = None
    target_is_ratio: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """PASS or SHORT; empty without a target."""
        judged = self.ratio if self.target_is_ratio else self.value
        if self.target is None or judged is None:
            return ""
        passed = {"<=": judged <= self.target, "<": judged < self.target, ">=": judged >= self.target}[self.sense]
        return "PASS" if passed else "SHORT"


@dataclass(slots=True)
class Report:
    """What one bench found."""

    bench: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def add(self, name: str, value: float, unit: str = "", **more: object) -> None:
        """Add a figure; see `Figure`."""
        self.figures.append(Figure(name, value, unit, **more))  # type: ignore[arg-type]

    def show(self, console: Console) -> None:
        """Print the table."""
        table = Table(title=f"{self.bench}: {self.title} ({self.took_s:.0f} s)", title_justify="left")
        for name in ("figure", "target", "measured", "reference", "ratio", "verdict", "note"):
            table.add_column(name, justify="left" if name in {"figure", "verdict", "note"} else "right")
        for figure in self.figures:
            table.add_row(*row(figure), style="red" if figure.verdict == "SHORT" else None)
        console.print(table)
        for remark in self.remarks:
            console.print(f"  {remark}", highlight=False)


def row(figure: Figure) -> tuple[str, ...]:
    """The cells of one figure."""
    unit = f" {figure.unit}" if figure.unit else ""
    target = (
        "" if figure.target is None else f"{figure.sense} {figure.target:g}{'×' if figure.target_is_ratio else unit}"
    )
    return (
        figure.name,
        target,
        f"{number(figure.value)}{unit}",
        "" if figure.reference is None else f"{number(figure.reference)}{unit}",
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        figure.verdict,
        figure.note,
    )


def number(value: float) -> str:
    """Write a number with three significant digits, or all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> str:
    """Say what this ran on, in one line."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores, {system}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text("utf-8").splitlines() if path.exists() else []


def markdown(reports: Sequence[Report]) -> str:
    """Write the figures as the table of bench/README.md."""
    lines = [
        f"Machine: {machine()}.",
        "",
        "| figure | target | measured | reference | ratio | verdict |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{report.bench}`: {' | '.join(row(figure)[:-1])} |" for report in reports for figure in report.figures
    ]
    return "\n".join(lines)


def save(reports: Sequence[Report], file: Path) -> None:
    """Write everything as JSON."""
    found = [
        asdict(report) | {"figures": [asdict(figure) | {"verdict": figure.verdict} for figure in report.figures]}
        for report in reports
    ]
    file.write_text(json.dumps({"machine": machine(), "benches": found}, indent=2) + "\n", "utf-8")
