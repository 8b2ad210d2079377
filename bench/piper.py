"""What the server adds to Piper: real-time factor, and time to first audio.

The same texts, by turns through `ttsw serve --adapter piper` (`pacing=fast`, so that nothing is held back) and by
piper-tts called directly in a process of its own. RTF is wall time over seconds of audio; rounds alternate, each gives
a ratio, the median counts. Three ways: one text at a time with one thread for an inference on either side, with a
thread for each core, and two texts at a time with both as they come (piper-tts lets ONNX Runtime take all cores for one
inference, the server runs two at once with a thread each). Time to first audio is measured for texts of three lengths:
a client's request to its first frame, and piper's call to its first chunk.
"""

import json
from contextlib import ExitStack
from statistics import median
from typing import Any

from bench.process import CORES, Child, product, running
from bench.report import Report
from bench.samples import SENTENCES, text_of
from ttsw.config import shipped_dir
from ttsw.packs.catalogue import read_catalogue

ALL_CORES = len(CORES)
WAYS = (
    ("1 stream, 1 thread", 1, 1, 1),
    ("1 stream, a thread for each core", 1, ALL_CORES, 0),
    ("2 streams, each as it comes", 2, 0, 0),
)
"""Name, streams, threads of one inference in the server and in piper-tts; 0 leaves them to their defaults."""
LENGTHS = (40, 300, 1_500)


def run(*, quick: bool) -> Report:
    """Measure."""
    report = Report("piper", "Piper through the server and by itself, on all cores")
    texts = [" ".join(SENTENCES[i : i + 2]) for i in range(0, len(SENTENCES), 2)][: 2 if quick else 4]
    for name, streams, ours, theirs in WAYS:
        with ExitStack() as stack:
            pair = _open(stack, streams, ours, theirs)
            for child in pair:  # warm
                _round(child, texts[:2])
            _compare_rtf(report, name, pair, texts, rounds=1 if quick else 4)
            if not ours:
                _compare_first(report, pair, rounds=1 if quick else 5)
    return report


def model_path() -> str:
    """Where the shipped Piper voice lies."""
    pack = next(pack for pack in read_catalogue(shipped_dir("voicepacks")).packs.values() if pack.family == "piper")
    return str(next(path for path in pack.files.values() if path.suffix == ".onnx"))


def _open(stack: ExitStack, streams: int, threads: int, direct_threads: int) -> tuple[Child, Child]:
    settings = {"TTSW_ENGINES__PIPER__THREADS": str(threads)} if threads else {}
    server = stack.enter_context(product("piper", settings=settings))
    ours = stack.enter_context(running(Child.python("bench.clients.piper_server", str(server.port), str(streams))))
    direct = ("bench.clients.piper_direct", model_path(), str(streams), str(direct_threads))
    theirs = stack.enter_context(running(Child.python(*direct)))
    for child in (ours, theirs):
        child.line()
    return ours, theirs


def _round(child: Child, texts: list[str], *, first_only: bool = False) -> dict[str, Any]:
    child.tell(json.dumps({"texts": texts, "first_only": first_only}))
    return child.result()


def _compare_rtf(report: Report, name: str, pair: tuple[Child, Child], texts: list[str], *, rounds: int) -> None:
    ours, theirs = zip(*[[_rtf(_round(child, texts)) for child in pair] for _ in range(rounds)], strict=True)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    report.add(
        f"RTF, {name}",
        median(ours),
        target=1.1,
        reference=median(theirs),
        ratio=median(ratios),
        target_is_ratio=True,
        note=f"piper-tts by itself; ratios of {rounds} rounds {min(ratios):.2f}–{max(ratios):.2f}",
    )


def _rtf(found: dict[str, Any]) -> float:
    return float(found["wall_s"] / sum(text["audio_s"] for text in found["texts"]))


def _compare_first(report: Report, pair: tuple[Child, Child], *, rounds: int) -> None:
    for length in LENGTHS:
        texts = [text_of(length)]
        found = [
            [_round(child, texts, first_only=True)["texts"][0]["first_s"] for child in pair] for _ in range(rounds)
        ]
        ours, theirs = (1000 * median(column) for column in zip(*found, strict=True))
        note = f"piper's own first chunk, a sentence; {rounds} rounds"
        report.add(f"TTFA, {length} characters", ours, "ms", reference=theirs, ratio=ours / theirs, note=note)
