"""`python -m bench [names…] [--json FILE] [--quick]`: run the benches, all by default, and print what they found."""

import argparse
import os
from importlib import import_module
from pathlib import Path
from time import monotonic

from rich.console import Console

from bench.report import Report, machine, markdown, save

BENCHES = (
    "frames",
    "realtime",
    "control",
    "piper",
    "memory",
    "stalled",
    "models",
    "processes",
    "watched",
    "transport",
    "startup",
)


def main() -> int:
    """Run; the exit status is 1 where a figure falls short."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the worker; see bench/README.md.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"benches to run, of: {', '.join(BENCHES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
    parser.add_argument("--markdown", action="store_true", help="print the table of bench/README.md as well")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that it works, not to quote")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHES):
        parser.error(f"no bench {', '.join(sorted(unknown))}; there are: {', '.join(BENCHES)}")
    console = Console(width=None if Console().is_terminal else 160)
    console.print(f"{machine()}{', quick: not to be quoted' if given.quick else ''}", highlight=False)
    reports = []
    for name in given.names or BENCHES:
        began = monotonic()
        busy, stolen = (busy_s(), children_s()), stolen_s()
        report: Report = import_module(f"bench.{name}").run(quick=given.quick)
        report.took_s = monotonic() - began
        if busy[0] is not None and (now := busy_s()) is not None:
            others = (now - busy[0] - (children_s() - busy[1])) / report.took_s
            report.remarks.append(f"all else on this machine used {others:.2f} cores meanwhile")
            if stolen is not None and (then := stolen_s()) is not None:
                report.remarks[-1] += f", and its host kept back {(then - stolen) / report.took_s:.2f}"
        report.show(console)
        reports.append(report)
        if given.json:
            save(reports, given.json)
    if given.markdown:
        print(markdown(reports))
    return int(any(figure.verdict == "SHORT" for report in reports for figure in report.figures))


def busy_s() -> float | None:
    """CPU time that the whole machine has used since boot, s; None where the kernel doesn't tell."""
    times = machine_times()
    return None if times is None else sum(times[i] for i in (0, 1, 2, 5, 6))  # all but idle, iowait and steal


def stolen_s() -> float | None:
    """Time that a virtual machine's cores were ready and not let run, since boot, s; None where it isn't told."""
    times = machine_times()
    return None if times is None else times[7]


def machine_times() -> list[float] | None:
    """The first line of /proc/stat, s; None where there is none."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    return [int(field) / os.sysconf("SC_CLK_TCK") for field in path.read_text("ascii").split("\n")[0].split()[1:]]


def children_s() -> float:
    """CPU time of this process and of its children that have ended, s."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    raise SystemExit(main())
